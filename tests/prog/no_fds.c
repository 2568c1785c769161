/* SPDX-License-Identifier: MIT */
/*
 * The first thread is created when no descriptor is left. What waits and what moves bytes over descriptors that are
 * there works; what needs a new one fails with EMFILE, and works again as soon as there is one.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "prog.h"

#define NPAIRS	 12
#define NFDS	 128
#define NROUNDS	 20

static int pair[NPAIRS][2], tcp, clients[2], fill[NFDS], nfill;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void use_up(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		fill[nfill++] = fd;
	CHECK_EQ(errno, EMFILE);
}

static void give_back(void)
{
	while (nfill > 0)
		CHECK_EQ(close(fill[--nfill]), 0);
}

static void *echo(void *arg)
{
	int i = (int)(intptr_t)arg, n;

	for (int r = 0; r < NROUNDS; r++) {
		if (i % 3 == 1) {
			struct pollfd p = { .fd = pair[i][1], .events = POLLIN };

			CHECK_EQ(poll(&p, 1, -1), 1);
			CHECK_EQ(p.revents, POLLIN);
		} else if (i % 3 == 2) {
			fd_set set;

			FD_ZERO(&set);
			FD_SET(pair[i][1], &set);
			CHECK_EQ(select(pair[i][1] + 1, &set, NULL, NULL, NULL), 1);
		}
		CHECK_EQ(read(pair[i][1], &n, sizeof(n)), sizeof(n));
		CHECK_EQ(n, r);
		n = ~n;
		CHECK_EQ(write(pair[i][1], &n, sizeof(n)), sizeof(n));
	}
	return NULL;
}

static void *sleeper(void *arg)
{
	struct timespec until = prog_after_ms(CLOCK_REALTIME, 30);
	struct pollfd p = { .fd = pair[0][1], .events = POLLPRI };

	(void)arg;
	prog_nap_ms(20);
	pthread_mutex_lock(&lock);
	CHECK_EQ(pthread_cond_timedwait(&cond, &lock, &until), ETIMEDOUT);
	pthread_mutex_unlock(&lock);
	CHECK_EQ(poll(&p, 1, 20), 0);
	CHECK_EQ(poll(NULL, 0, 20), 0);
	return NULL;
}

static void rounds(void)
{
	pthread_t t[2 * NPAIRS];
	int n;

	for (int i = 0; i < NPAIRS; i++) {
		t[i] = prog_start(echo, (void *)(intptr_t)i);
		t[NPAIRS + i] = prog_start(sleeper, NULL);
	}
	/* The first rounds find the readers asleep. */
	for (int r = 0; r < NROUNDS; r++) {
		if (r < 5)
			prog_nap_ms(5);
		for (int i = 0; i < NPAIRS; i++)
			CHECK_EQ(write(pair[i][0], &r, sizeof(r)), sizeof(r));
		for (int i = 0; i < NPAIRS; i++) {
			CHECK_EQ(read(pair[i][0], &n, sizeof(n)), sizeof(n));
			CHECK_EQ(n, ~r);
		}
	}
	for (int i = 0; i < 2 * NPAIRS; i++)
		prog_join(t[i]);
}

static void *acceptor(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)(accept(tcp, NULL, NULL) < 0 ? errno : 0);
}

static void refused(void)
{
	int p[2];

	CHECK_FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	CHECK_FAILS(eventfd(0, 0), EMFILE);
	CHECK_FAILS(epoll_create1(0), EMFILE);
	CHECK_FAILS(pipe(p), EMFILE);
	CHECK_FAILS(dup(0), EMFILE);
	CHECK(!fopen("/dev/null", "r") && errno == EMFILE);
}

int main(void)
{
	struct rlimit lim = { NFDS, NFDS };
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	pthread_t t;

	for (int i = 0; i < NPAIRS; i++)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]), 0);
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_EQ(bind(tcp, (struct sockaddr *)&addr, len), 0);
	CHECK_EQ(listen(tcp, 8), 0);
	CHECK_EQ(getsockname(tcp, (struct sockaddr *)&addr, &len), 0);
	for (int i = 0; i < 2; i++)
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lim), 0);
	use_up();
	prog_init();

	refused();
	rounds();
	printf("without a descriptor\n");

	/* The connection waits in the backlog; a thread that accepts it is told why it cannot have it. */
	CHECK_EQ(connect(clients[0], (struct sockaddr *)&addr, len), 0);
	CHECK_EQ((intptr_t)prog_join(prog_start(acceptor, NULL)), EMFILE);
	/* One that waits already: the kernel reserves the number before it waits, so this is told at once as well. */
	t = prog_start(acceptor, NULL);
	CHECK_EQ((intptr_t)prog_join(t), EMFILE);
	CHECK_EQ(close(fill[--nfill]), 0);
	CHECK_EQ((intptr_t)prog_join(prog_start(acceptor, NULL)), 0);
	printf("accept\n");

	give_back();
	rounds();
	t = prog_start(acceptor, NULL);
	prog_nap_ms(20);
	CHECK_EQ(connect(clients[1], (struct sockaddr *)&addr, len), 0);
	CHECK_EQ((intptr_t)prog_join(t), 0);
	use_up();
	refused();
	rounds();
	printf("with descriptors again\n");
	return 0;
}
