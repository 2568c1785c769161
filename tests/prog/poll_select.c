/* SPDX-License-Identifier: MIT */
/*
 * poll, ppoll, select, pselect, epoll_wait: readiness, time-outs not early, POLLNVAL, negative
 * fds, regular files always ready, waiters woken by other threads, one-shot and edge-triggered
 * epoll, eventfd.
 */
#include "prog.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int64_t mono(void)
{
	return prog_now_ns(CLOCK_MONOTONIC);
}

static void *writes_soon(void *arg)
{
	prog_nap_ms(5);
	CHECK_EQ(write(*(int *)arg, "x", 1), 1);
	return NULL;
}

static void check_poll(void)
{
	struct timespec ts = { .tv_nsec = 15000000 }, zero = { 0 };
	int p[2], q[2], file, dead;
	struct pollfd fds[5], *volatile bad = (struct pollfd *)8;
	int64_t before;
	pthread_t t;
	char c;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	file = open("/proc/self/exe", O_RDONLY);
	dead = dup(file);
	close(dead);
	fds[0] = (struct pollfd){ .fd = p[0], .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = q[0], .events = POLLIN };
	CHECK_EQ(poll(fds, 2, 0), 0);
	before = mono();
	CHECK_EQ(poll(fds, 2, 15), 0);
	CHECK_EQ(ppoll(fds, 2, &ts, NULL), 0);
	CHECK_EQ(poll(NULL, 0, 10), 0);
	CHECK(mono() - before >= 40000000);
	CHECK_EQ(ppoll(fds, 2, &zero, NULL), 0);
	t = prog_start(writes_soon, &q[1]);
	CHECK_EQ(poll(fds, 2, -1), 1);
	CHECK_EQ(fds[0].revents, 0);
	CHECK_EQ(fds[1].revents, POLLIN);
	prog_join(t);
	fds[0] = (struct pollfd){ .fd = dead, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = -1, .events = POLLIN, .revents = 77 };
	fds[2] = (struct pollfd){ .fd = file, .events = POLLIN | POLLOUT };
	fds[3] = (struct pollfd){ .fd = q[0], .events = POLLIN };
	fds[4] = (struct pollfd){ .fd = p[1], .events = POLLOUT };
	CHECK_EQ(poll(fds, 5, -1), 4);
	CHECK_EQ(fds[0].revents, POLLNVAL);
	CHECK_EQ(fds[1].revents, 0);
	CHECK_EQ(fds[2].revents, POLLIN | POLLOUT);
	CHECK_EQ(fds[3].revents, POLLIN);
	CHECK_EQ(fds[4].revents, POLLOUT);
	CHECK_EQ(read(q[0], &c, 1), 1);
	close(q[1]);
	fds[0] = (struct pollfd){ .fd = q[0], .events = POLLIN };
	CHECK_EQ(poll(fds, 1, -1), 1);
	CHECK_EQ(fds[0].revents, POLLHUP);
	close(p[0]);
	fds[0] = (struct pollfd){ .fd = p[1] };
	CHECK_EQ(poll(fds, 1, -1), 1);
	CHECK_EQ(fds[0].revents, POLLERR);
	CHECK_FAILS(ppoll(fds, 1, &(struct timespec){ .tv_nsec = -1 }, NULL), EINVAL);
	CHECK_FAILS(poll(bad, 1, 0), EFAULT);
	close(p[1]);
	close(q[0]);
	close(file);
	puts("poll ok");
}

static void check_select(void)
{
	struct timespec ts = { .tv_nsec = 15000000 };
	struct timeval tv = { .tv_usec = 15000 };
	fd_set rd, wr;
	int64_t before;
	pthread_t t;
	int p[2], n;

	CHECK_EQ(pipe(p), 0);
	n = (p[0] > p[1] ? p[0] : p[1]) + 1;
	FD_ZERO(&rd);
	FD_SET(p[0], &rd);
	before = mono();
	CHECK_EQ(select(n, &rd, NULL, NULL, &tv), 0);
	CHECK(tv.tv_sec == 0 && tv.tv_usec == 0);	/* Linux leaves what remains */
	CHECK(!FD_ISSET(p[0], &rd));
	FD_SET(p[0], &rd);
	CHECK_EQ(pselect(n, &rd, NULL, NULL, &ts, NULL), 0);
	CHECK_EQ(ts.tv_nsec, 15000000);
	tv.tv_usec = 10000;
	CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
	CHECK(mono() - before >= 40000000);
	FD_ZERO(&wr);
	FD_SET(p[0], &rd);
	FD_SET(p[1], &wr);
	CHECK_EQ(select(n, &rd, &wr, NULL, NULL), 1);
	CHECK(!FD_ISSET(p[0], &rd) && FD_ISSET(p[1], &wr));
	t = prog_start(writes_soon, &p[1]);
	FD_SET(p[0], &rd);
	tv.tv_sec = 600;
	CHECK_EQ(select(n, &rd, NULL, NULL, &tv), 1);
	CHECK(FD_ISSET(p[0], &rd));
	CHECK(tv.tv_sec < 600 && tv.tv_sec > 0);
	prog_join(t);
	FD_SET(p[0], &rd);
	FD_SET(p[1], &wr);
	CHECK_EQ(select(n, &rd, &wr, NULL, NULL), 2);
	close(p[0]);
	FD_ZERO(&rd);
	FD_SET(p[0], &rd);
	CHECK_FAILS(select(n, &rd, NULL, NULL, NULL), EBADF);
	CHECK_FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	close(p[1]);
	puts("select ok");
}

static void *waits_epoll(void *arg)
{
	struct epoll_event ev;

	CHECK_EQ(epoll_wait(*(int *)arg, &ev, 1, -1), 1);
	return (void *)(long)ev.data.u64;
}

static void check_epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = 42 }, got[4];
	int ep = epoll_create1(EPOLL_CLOEXEC), s[2];
	pthread_t ts[3], t;
	int64_t before;
	char c;

	CHECK(ep >= 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &ev), 0);
	CHECK_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &ev), EEXIST);
	before = mono();
	CHECK_EQ(epoll_wait(ep, got, 4, 15), 0);
	CHECK(mono() - before >= 15000000);
	t = prog_start(writes_soon, &s[1]);
	CHECK_EQ(epoll_wait(ep, got, 4, -1), 1);
	CHECK_EQ(got[0].data.u64, 42);
	CHECK_EQ(got[0].events, EPOLLIN);
	CHECK_EQ(epoll_wait(ep, got, 4, 0), 0);		/* edge: told once */
	prog_join(t);
	ev = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 43 };
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, s[0], &ev), 0);
	CHECK_EQ(epoll_wait(ep, got, 4, -1), 1);
	CHECK_EQ(got[0].data.u64, 43);
	CHECK_EQ(epoll_wait(ep, got, 4, 0), 0);
	CHECK_EQ(read(s[0], &c, 1), 1);
	/* three threads in epoll_wait on one-shot: each write wakes exactly one */
	for (int i = 0; i < 3; i++)
		ts[i] = prog_start(waits_epoll, &ep);
	for (int i = 0; i < 3; i++) {
		ev.data.u64 = (uint64_t)i + 1;
		CHECK_EQ(write(s[1], "y", 1), 1);
		CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_MOD, s[0], &ev), 0);
		/*
		 * the event is taken when a second look finds the fd disarmed and one thread gone
		 */
		for (int left = 1; left;) {
			for (int j = 0; j < 3; j++) {
				void *ret;

				if (ts[j] && pthread_tryjoin_np(ts[j], &ret) == 0) {
					CHECK_EQ((long)ret, i + 1);
					ts[j] = 0;
					left = 0;
				}
			}
			sched_yield();
		}
		CHECK_EQ(read(s[0], &c, 1), 1);
	}
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_DEL, s[0], NULL), 0);
	CHECK_FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, s[0], NULL), ENOENT);
	CHECK_FAILS(epoll_wait(ep, got, 0, 0), EINVAL);
	CHECK_FAILS(epoll_wait(s[0], got, 1, 0), EINVAL);
	close(s[0]);
	close(s[1]);
	close(ep);
	puts("epoll ok");
}

static void *adds(void *arg)
{
	uint64_t v = 5;

	prog_nap_ms(3);
	CHECK_EQ(write(*(int *)arg, &v, sizeof(v)), sizeof(v));
	return NULL;
}

static void check_special(void)
{
	struct itimerspec its = { .it_value.tv_nsec = 20000000 };
	int ev = eventfd(0, 0), sem = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
	int tm = timerfd_create(CLOCK_MONOTONIC, 0);
	int64_t before = mono();
	pthread_t t;
	uint64_t v;

	t = prog_start(adds, &ev);
	CHECK_EQ(read(ev, &v, sizeof(v)), sizeof(v));	/* blocks */
	CHECK_EQ(v, 5);
	prog_join(t);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(read(sem, &v, sizeof(v)), sizeof(v));
		CHECK_EQ(v, 1);
	}
	CHECK_FAILS(read(sem, &v, sizeof(v)), EAGAIN);
	CHECK_EQ(timerfd_settime(tm, 0, &its, NULL), 0);
	CHECK_EQ(read(tm, &v, sizeof(v)), sizeof(v));
	CHECK_EQ(v, 1);
	CHECK(mono() - before >= 20000000);
	close(ev);
	close(sem);
	close(tm);
	puts("eventfd timerfd ok");
}

static void *all(void *arg)
{
	(void)arg;
	check_poll();
	check_select();
	check_epoll();
	check_special();
	return NULL;
}

int main(void)
{
	prog_init();
	all(NULL);
	prog_join(prog_start(all, NULL));
	return 0;
}
