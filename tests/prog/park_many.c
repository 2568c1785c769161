/* SPDX-License-Identifier: MIT */
/*
 * 10,000 threads wait, each in one way: a sleep, a futex, a read, an accept, a poll, a select, an epoll_wait, a splice,
 * a read from the master of a pty. When the shim is live that takes fewer than 8 kernel threads beside those of further
 * processors, and a thread that computes goes on.
 */
#include "prog.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

#define THREADS 10000
#define SHARED	8 /* files, futexes ... of a kind: the descriptors do not suffice for one each */

enum kind { SLEEP, FUTEX, READ, ACCEPT, POLL, SELECT, EPOLL, SPLICE, PTY, KINDS };

static int entered, woken;
static uint32_t word[SHARED];
static int files[KINDS][SHARED];
static int null_fd;
static volatile int stop;
static volatile unsigned long counter;

static void *waits(void *arg)
{
	long id = (long)arg;
	int which = (int)(id / KINDS % SHARED), fd = files[id % KINDS][which];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct epoll_event ev;
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	fd_set set;
	char c;

	__atomic_add_fetch(&entered, 1, __ATOMIC_SEQ_CST);
	switch ((enum kind)(id % KINDS)) {
	case SLEEP:
		while (!stop)
			nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = 900000000}, NULL);
		break;
	case FUTEX:
		while (!stop)
			syscall(SYS_futex, &word[which], FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL);
		break;
	case READ:
		CHECK_EQ(read(fd, &c, 1), 0);
		break;
	case ACCEPT:
		CHECK_EQ(accept(fd, (struct sockaddr *)&from, &len), -1);
		break;
	case POLL:
		CHECK_EQ(poll(&p, 1, -1), 1);
		break;
	case SELECT:
		FD_ZERO(&set);
		FD_SET(fd, &set);
		CHECK_EQ(select(fd + 1, &set, NULL, NULL, NULL), 1);
		break;
	case EPOLL:
		CHECK_EQ(epoll_wait(fd, &ev, 1, -1), 1);
		break;
	case SPLICE:
		CHECK_EQ(splice(fd, NULL, null_fd, NULL, 1, 0), 0);
		break;
	case PTY:
		CHECK_FAILS(read(fd, &c, 1), EIO);
		break;
	case KINDS:
		break;
	}
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *computes(void *arg)
{
	while (!stop)
		counter++;
	return arg;
}

static void make(int i, int ends[4])
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct epoll_event ev = {.events = EPOLLIN};

	int p[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	CHECK_EQ(pipe(p), 0);
	files[SPLICE][i] = p[0];
	ends[2] = p[1];
	CHECK((files[PTY][i] = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
	CHECK_EQ(unlockpt(files[PTY][i]), 0);
	CHECK((ends[3] = open(ptsname(files[PTY][i]), O_RDWR | O_NOCTTY)) >= 0);
	files[READ][i] = files[POLL][i] = files[SELECT][i] = ends[0];
	CHECK((files[EPOLL][i] = epoll_create1(0)) >= 0);
	CHECK_EQ(epoll_ctl(files[EPOLL][i], EPOLL_CTL_ADD, ends[0], &ev), 0);
	CHECK((files[ACCEPT][i] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	CHECK_EQ(bind(files[ACCEPT][i], (struct sockaddr *)&a, sizeof(sa_family_t)), 0); /* a name of the kernel's */
	CHECK_EQ(listen(files[ACCEPT][i], 8), 0);
}

int main(void)
{
	static pthread_t ts[THREADS];
	int ends[SHARED][4];
	unsigned long before;
	pthread_attr_t attr;
	pthread_t t;

	prog_init();
	CHECK((null_fd = open("/dev/null", O_WRONLY)) >= 0);
	for (int i = 0; i < SHARED; i++)
		make(i, ends[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (long i = 0; i < THREADS; i++)
		prog_created(pthread_create(&ts[i], &attr, waits, (void *)i));
	while (__atomic_load_n(&entered, __ATOMIC_SEQ_CST) < THREADS)
		prog_nap_ms(10);
	CHECK_EQ(woken, 0);
	t = prog_start(computes, NULL);
	before = counter;
	while (counter - before <= 100000)	/* it computes, whatever all the others wait for */
		prog_nap_ms(1);
	stop = 1;
	prog_join(t);
	for (int i = 0; i < SHARED; i++) {
		word[i] = 1;
		syscall(SYS_futex, &word[i], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
		close(ends[i][1]);
		close(ends[i][2]);
		close(ends[i][3]);
		shutdown(files[ACCEPT][i], SHUT_RDWR);
	}
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(woken, THREADS);
	prog_few_kthreads(THREADS / 50);
	puts("ok");
	return 0;
}
