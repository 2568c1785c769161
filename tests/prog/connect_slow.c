/* SPDX-License-Identifier: MIT */
/*
 * connect that takes long, as in a native run: many threads at once, which end it by an answer or by its absence, by
 * signals with and without SA_RESTART, SO_SNDTIMEO, shutdown from another thread, and cancellation. The peer is a
 * listener on loopback whose backlog is full: it drops each SYN, which is sent anew after a second.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MANY 200
#define FULL 8

static struct sockaddr_in addr;
static int listener, filler[FULL], nfiller;
static volatile int handled;

static int tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	return fd;
}

static int state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_state;
}

static void listen_full(void)
{
	socklen_t len = sizeof(addr);

	listener = tcp();
	addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK_EQ(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	CHECK_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	CHECK_EQ(listen(listener, 0), 0);
	/* Until one does not come through. */
	for (nfiller = 0; nfiller < FULL; nfiller++) {
		struct pollfd p;

		filler[nfiller] = tcp();
		CHECK_EQ(fcntl(filler[nfiller], F_SETFL, O_NONBLOCK), 0);
		CHECK_FAILS(connect(filler[nfiller], (struct sockaddr *)&addr, sizeof(addr)), EINPROGRESS);
		p = (struct pollfd){ filler[nfiller], POLLOUT, 0 };
		if (poll(&p, 1, 50) == 0)
			break;
	}
	CHECK(nfiller > 0 && nfiller < FULL);
}

static void stop_listening(void)
{
	close(listener);
	for (int i = 0; i <= nfiller; i++)
		close(filler[i]);
}

static void on_signal(int sig)
{
	handled++;
}

static void handle(int flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };

	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	handled = 0;
}

/* One connect on a descriptor, and how it ended. */
struct attempt {
	int fd, ret, err, done;
};

static void *connects(void *arg)
{
	struct attempt *a = arg;

	a->ret = connect(a->fd, (struct sockaddr *)&addr, sizeof(addr));
	a->err = errno;
	__atomic_store_n(&a->done, 1, __ATOMIC_RELEASE);
	return arg;
}

/* Returns when the SYN is out. */
static pthread_t begin(struct attempt *a)
{
	pthread_t t;

	a->done = 0;
	a->fd = tcp();
	t = prog_start(connects, a);
	while (state_of(a->fd) != TCP_SYN_SENT)
		prog_nap_ms(1);
	return t;
}

/* A signal before the thread waits does nothing to the call: until it has ended. */
static void interrupt(pthread_t t, const struct attempt *a)
{
	while (!__atomic_load_n(&a->done, __ATOMIC_ACQUIRE)) {
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
		prog_nap_ms(5);
	}
	prog_join(t);
}

static void many(void)
{
	static struct attempt a[MANY];
	pthread_t t[MANY];

	listen_full();
	for (int i = 0; i < MANY; i++) {
		t[i] = begin(&a[i]);
		prog_nap_ms(1);
	}
	prog_few_kthreads(MANY);	/* each had one at first, until it took too long */
	for (int i = 0; i < MANY; i++)
		CHECK_EQ(fcntl(a[i].fd, F_GETFL) & O_NONBLOCK, 0);
	stop_listening();
	for (int i = 0; i < MANY; i++) {
		prog_join(t[i]);
		CHECK_EQ(a[i].ret, -1);
		CHECK_EQ(a[i].err, ECONNREFUSED);
		CHECK_EQ(state_of(a[i].fd), TCP_CLOSE);
		/* as after any failed connect: another one may follow */
		CHECK_FAILS(connect(a[i].fd, (struct sockaddr *)&addr, sizeof(addr)), ECONNREFUSED);
		close(a[i].fd);
	}
	puts("many refused ok");
}

static void succeeds(void)
{
	struct attempt a[3];
	pthread_t t[3];

	listen_full();
	for (int i = 0; i < 3; i++)
		t[i] = begin(&a[i]);
	/* Room for them: their next SYN comes through. */
	CHECK_EQ(listen(listener, 16), 0);
	for (int i = 0; i < 3; i++) {
		prog_join(t[i]);
		CHECK_EQ(a[i].ret, 0);
		CHECK_EQ(write(a[i].fd, "x", 1), 1);
		CHECK_FAILS(connect(a[i].fd, (struct sockaddr *)&addr, sizeof(addr)), EISCONN);
		close(a[i].fd);
	}
	stop_listening();
	puts("late success ok");
}

static void signals(void)
{
	struct timeval tv = { 0, 300000 };
	struct attempt a;
	pthread_t t;

	listen_full();
	handle(0);
	t = begin(&a);
	interrupt(t, &a);
	CHECK_EQ(a.ret, -1);
	CHECK_EQ(a.err, EINTR);
	CHECK(handled >= 1);
	CHECK_EQ(state_of(a.fd), TCP_SYN_SENT);	/* it goes on */
	/* The second call waits for the same attempt, and says so when its time is over. */
	CHECK_EQ(setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	CHECK_FAILS(connect(a.fd, (struct sockaddr *)&addr, sizeof(addr)), EALREADY);
	CHECK_EQ(fcntl(a.fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_FAILS(connect(a.fd, (struct sockaddr *)&addr, sizeof(addr)), EALREADY);
	close(a.fd);

	handle(SA_RESTART);
	t = begin(&a);
	prog_nap_ms(30);
	CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
	while (!handled)
		prog_nap_ms(1);
	prog_nap_ms(20);
	CHECK_EQ(state_of(a.fd), TCP_SYN_SENT);
	/* Another thread gives it up: the waiting one is told, and does not begin again. */
	CHECK_EQ(shutdown(a.fd, SHUT_RDWR), 0);
	prog_join(t);
	CHECK_EQ(a.ret, -1);
	printf("shutdown: %s\n", strerrorname_np(a.err));
	CHECK_EQ(state_of(a.fd), TCP_CLOSE);
	close(a.fd);
	stop_listening();
	puts("signals ok");
}

static void timeouts(void)
{
	struct timeval tv = { 0, 200000 };
	struct attempt a;
	int64_t before;
	pthread_t t;
	int fd;

	listen_full();
	fd = tcp();
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), EINPROGRESS);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 199000000);
	CHECK_FAILS(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), EALREADY);
	close(fd);

	/* With a timeout no handler lets it go on. */
	handle(SA_RESTART);
	tv.tv_sec = 60;
	a.done = 0;
	a.fd = tcp();
	CHECK_EQ(setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	t = prog_start(connects, &a);
	while (state_of(a.fd) != TCP_SYN_SENT)
		prog_nap_ms(1);
	interrupt(t, &a);
	CHECK_EQ(a.ret, -1);
	CHECK_EQ(a.err, EINTR);
	close(a.fd);
	stop_listening();
	puts("timeouts ok");
}

static void cancels(void)
{
	struct attempt a;
	pthread_t t;

	listen_full();
	t = begin(&a);
	prog_nap_ms(30);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK_EQ(state_of(a.fd), TCP_SYN_SENT);
	close(a.fd);
	stop_listening();
	puts("cancel ok");
}

struct un_attempt {
	struct sockaddr_un addr;
	socklen_t len;
	int fd;
};

static void *connects_un(void *arg)
{
	struct un_attempt *u = arg;

	CHECK_EQ(connect(u->fd, (struct sockaddr *)&u->addr, u->len), 0);
	return arg;
}

static void unix_backlog(void)
{
	struct un_attempt u[4];
	pthread_t t[4];
	int l = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	memset(u, 0, sizeof(u));
	u[0].addr.sun_family = AF_UNIX;
	u[0].len = sizeof(u[0].addr);
	CHECK_EQ(bind(l, (struct sockaddr *)&u[0].addr, sizeof(sa_family_t)), 0);
	CHECK_EQ(getsockname(l, (struct sockaddr *)&u[0].addr, &u[0].len), 0);
	CHECK_EQ(listen(l, 0), 0);
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			u[i] = u[0];
		u[i].fd = socket(AF_UNIX, SOCK_STREAM, 0);
		t[i] = prog_start(connects_un, &u[i]);
	}
	for (int i = 0; i < 4; i++) {
		prog_nap_ms(5);
		CHECK((fd = accept(l, NULL, NULL)) >= 0);
		close(fd);
	}
	for (int i = 0; i < 4; i++) {
		prog_join(t[i]);
		close(u[i].fd);
	}
	close(l);
	puts("unix ok");
}

int main(void)
{
	prog_init();
	many();
	succeeds();
	signals();
	timeouts();
	cancels();
	unix_backlog();
	return 0;
}
