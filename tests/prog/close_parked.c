/* SPDX-License-Identifier: MIT */
/*
 * A thread blocked in read keeps the open description it entered with, as on Linux: another thread
 * closes the descriptor, or puts another file under its number, and the reader still gets what
 * arrives at the old one and never takes a byte from the new one.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>

static int entered;

static void *reads_one(void *arg)
{
	char c = 0;
	ssize_t n;

	__atomic_store_n(&entered, 1, __ATOMIC_RELEASE);
	n = read(*(int *)arg, &c, 1);
	return (void *)(n == 1 ? (long)c : n == 0 ? 0 : (long)-errno);
}

/*
 * Starts a reader on fd. Whether it is parked already cannot be seen by a portable program; a nap
 * makes it all but certain, and each caller accepts EBADF (the read came after the close) by
 * trying again.
 */
static pthread_t start_reader(int *fd)
{
	pthread_t t;

	__atomic_store_n(&entered, 0, __ATOMIC_RELAXED);
	t = prog_start(reads_one, fd);
	while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
		sched_yield();
	prog_nap_ms(20);
	return t;
}

static void make(int kind, int fds[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int l;

	if (kind == 0) {
		CHECK_EQ(pipe(fds), 0);
	} else if (kind == 1) {
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	} else {
		l = socket(AF_INET, SOCK_STREAM, 0);
		CHECK_EQ(bind(l, (struct sockaddr *)&addr, sizeof(addr)), 0);
		CHECK_EQ(listen(l, 1), 0);
		CHECK_EQ(getsockname(l, (struct sockaddr *)&addr, &len), 0);
		fds[1] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK_EQ(connect(fds[1], (struct sockaddr *)&addr, sizeof(addr)), 0);
		fds[0] = accept(l, NULL, NULL);
		CHECK(fds[0] >= 0);
		close(l);
	}
}

enum how { CLOSE, CLOSE_REOPEN, DUP2, HOWS };

/* Returns 1 when the reader was really parked in the old file. */
static int try_once(int kind, enum how how)
{
	int fds[2], other[2], fd, spare = -1;
	pthread_t t;
	long got;

	CHECK_EQ(pipe(other), 0);
	make(kind, fds);
	fd = fds[0];
	/*
	 * A closed socket cannot be reached by its peer's data; a second descriptor keeps it open.
	 */
	spare = dup(fd);
	CHECK(spare >= 0);
	t = start_reader(&fd);
	switch (how) {
	case CLOSE:
		CHECK_EQ(close(fds[0]), 0);
		break;
	case CLOSE_REOPEN:
		CHECK_EQ(close(fds[0]), 0);
		CHECK_EQ(fcntl(other[0], F_DUPFD, fds[0]), fds[0]);
		break;
	default:
		CHECK_EQ(dup2(other[0], fds[0]), fds[0]);
	}
	/* data for the new file: not for the reader */
	CHECK_EQ(write(other[1], "n", 1), 1);
	prog_nap_ms(5);
	CHECK_EQ(write(fds[1], "o", 1), 1);
	got = (long)prog_join(t);
	if (got == 'o') {
		struct pollfd p = { .fd = other[0], .events = POLLIN };

		CHECK_EQ(poll(&p, 1, 0), 1);		/* the new file still has its byte */
	} else if (how == CLOSE) {
		CHECK_EQ(got, -EBADF);
	} else {
		CHECK_EQ(got, 'n');			/* the read began after the exchange */
	}
	close(spare);
	close(fds[1]);
	if (how != CLOSE)
		close(fds[0]);
	close(other[0]);
	close(other[1]);
	return got == 'o';
}

/* The last descriptor of a pipe's read end is closed under its reader: the description lives on. */
static int try_last(void)
{
	pthread_t t;
	int p[2], fd;
	long got;

	CHECK_EQ(pipe(p), 0);
	fd = p[0];
	t = start_reader(&fd);
	CHECK_EQ(close(p[0]), 0);
	if (write(p[1], "o", 1) == -1)
		CHECK_EQ(errno, EPIPE);		/* the reader had not entered */
	got = (long)prog_join(t);
	CHECK(got == 'o' || got == -EBADF);
	close(p[1]);
	return got == 'o';
}

static void *polls(void *arg)
{
	int fd = *(int *)arg;
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1 } };

	__atomic_store_n(&entered, 1, __ATOMIC_RELEASE);
	CHECK_EQ(poll(p, *(int *)arg % 2 + 1, 60000), 1); /* one descriptor, or more */
	return (void *)(long)p[0].revents;
}

/* poll holds the file it waits for as well: its hang-up wakes it, and then the number means nothing any more. */
static void try_poll(int parity)
{
	pthread_t t;
	int p[2], fd;

	CHECK_EQ(pipe(p), 0);
	fd = p[0];
	if (fd % 2 != parity) {
		fd = fcntl(p[0], F_DUPFD, fd + 1);
		while (fd % 2 != parity) {
			int up = fcntl(fd, F_DUPFD, fd + 1);

			close(fd);
			fd = up;
		}
		close(p[0]);
	}
	__atomic_store_n(&entered, 0, __ATOMIC_RELAXED);
	t = prog_start(polls, &fd);
	while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
		sched_yield();
	prog_nap_ms(20);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(close(p[1]), 0);
	CHECK_EQ((long)prog_join(t), POLLNVAL); /* also when it had not begun */
}

static void *selects(void *arg)
{
	int fd = *(int *)arg;
	fd_set rd, wr;
	int n;

	FD_ZERO(&rd);
	FD_ZERO(&wr);
	FD_SET(fd, &rd);
	FD_SET(fd, &wr);
	__atomic_store_n(&entered, 1, __ATOMIC_RELEASE);
	n = select(fd + 1, &rd, &wr, NULL, NULL);
	if (n == -1)
		return (void *)(long)-errno;
	CHECK(FD_ISSET(fd, &rd) && FD_ISSET(fd, &wr));
	return (void *)(long)n;
}

/* select calls a descriptor ready that was closed while it waited. */
static int try_select(void)
{
	pthread_t t;
	int p[2], fd;
	long got;

	CHECK_EQ(pipe(p), 0);
	fd = p[0];
	__atomic_store_n(&entered, 0, __ATOMIC_RELAXED);
	t = prog_start(selects, &fd);
	while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
		sched_yield();
	prog_nap_ms(20);
	CHECK_EQ(close(p[0]), 0);
	CHECK_EQ(close(p[1]), 0);
	got = (long)prog_join(t);
	CHECK(got == 2 || got == -EBADF); /* it had not begun */
	return got == 2;
}

int main(void)
{
	static const char *const kinds[] = { "pipe", "unix", "tcp" };
	static const char *const hows[] = { "close", "close and reopen", "dup2" };

	prog_init();
	signal(SIGPIPE, SIG_IGN);
	for (int kind = 0; kind < 3; kind++) {
		for (int how = 0; how < HOWS; how++) {
			int tries = 0;

			while (!try_once(kind, (enum how)how))
				CHECK(++tries < 50);	/* never what Linux does */
			printf("%s %s ok\n", kinds[kind], hows[how]);
		}
	}
	int tries = 0;
	while (!try_last())
		CHECK(++tries < 50);
	puts("last descriptor ok");
	for (int i = 0; i < 20; i++)
		try_poll(i % 2);
	puts("poll ok");
	tries = 0;
	while (!try_select())
		CHECK(++tries < 50);
	puts("select ok");
	return 0;
}
