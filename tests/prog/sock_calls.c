/* SPDX-License-Identifier: MIT */
/* Sockets and anonymous descriptors: the less usual calls, their counts and errors, as in a native run. */
#include "prog.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *a, socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask, size_t size);

static char buf[64];
static volatile int handled;

static void on_signal(int sig)
{
	handled++;
}

static void *sends_later(void *arg)
{
	prog_nap_ms(20);
	CHECK_EQ(send(*(int *)arg, "later", 5, 0), 5);
	return arg;
}

static void messages(void)
{
	char b[3][8];
	struct iovec out[3] = { { "a", 1 }, { "bb", 2 }, { "ccc", 3 } };
	struct iovec in[3] = { { b[0], 8 }, { b[1], 8 }, { b[2], 8 } };
	struct mmsghdr m[3], r[3];
	struct timespec ts = { 0, 0 };
	pthread_t t;
	int s[2];

	memset(m, 0, sizeof(m));
	memset(r, 0, sizeof(r));
	for (int i = 0; i < 3; i++) {
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &out[i], .msg_iovlen = 1 };
		r[i].msg_hdr = (struct msghdr){ .msg_iov = &in[i], .msg_iovlen = 1 };
	}
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	CHECK_EQ(sendmmsg(s[0], m, 3, 0), 3);
	CHECK_EQ(m[2].msg_len, 3);
	CHECK_EQ(recvmmsg(s[1], r, 3, 0, NULL), 3);
	CHECK_EQ(r[1].msg_len, 2);
	CHECK_FAILS(recvmmsg(s[1], r, 3, MSG_DONTWAIT, NULL), EAGAIN);
	CHECK_EQ(sendmmsg(s[0], m, 1, 0), 1);
	CHECK_EQ(recvmmsg(s[1], r, 3, MSG_WAITFORONE, NULL), 1);
	CHECK_EQ(sendmmsg(s[0], m, 2, 0), 2);
	CHECK_EQ(recvmmsg(s[1], r, 2, 0, &ts), 1); /* the time is looked at after each */
	CHECK_EQ(__recv_chk(s[1], buf, 8, sizeof(buf), 0), 2);
	CHECK_FAILS(sendmmsg(-1, m, 1, 0), EBADF);
	t = prog_start(sends_later, &s[0]);
	CHECK_EQ(__recvfrom_chk(s[1], buf, 8, sizeof(buf), 0, NULL, NULL), 5);
	prog_join(t);
	close(s[0]);
	close(s[1]);
	puts("messages ok");
}

static void polls(void)
{
	struct timespec ts = { 0, 10000000 };
	struct pollfd p;
	int fds[2];

	CHECK_EQ(pipe(fds), 0);
	p = (struct pollfd){ fds[0], POLLIN, 0 };
	CHECK_EQ(__poll_chk(&p, 1, 10, sizeof(p)), 0);
	CHECK_EQ(__ppoll_chk(&p, 1, &ts, NULL, sizeof(p)), 0);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	CHECK_EQ(__poll_chk(&p, 1, -1, sizeof(p)), 1);
	CHECK_EQ(p.revents, POLLIN);
	close(fds[1]);
	close(fds[0]);
	CHECK_EQ(__ppoll_chk(&p, 1, NULL, NULL, sizeof(p)), 1);
	CHECK_EQ(p.revents, POLLNVAL);
	puts("poll ok");
}

static int ready_fd;

static void *makes_ready(void *arg)
{
	prog_nap_ms(20);
	if (arg)
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	else
		CHECK_EQ(write(ready_fd, "\1\0\0\0\0\0\0\0", 8), 8);
	return NULL;
}

/* These all wait in read() until something happens. */
static void anonymous(void)
{
	struct itimerspec soon = { .it_value = { 0, 10000000 } };
	struct signalfd_siginfo si;
	char name[] = "/tmp/gmpshim-inotify-XXXXXX";
	union { struct inotify_event e; char room[300 + sizeof(struct inotify_event)]; } ev;
	struct epoll_event ee = { .events = EPOLLIN };
	uint64_t n;
	sigset_t s;
	pthread_t t;
	int fd, ep, dirfd;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	fd = signalfd(-1, &s, SFD_CLOEXEC);
	CHECK(fd >= 0);
	t = prog_start(makes_ready, &fd);
	CHECK_EQ(read(fd, &si, sizeof(si)), sizeof(si));
	CHECK_EQ(si.ssi_signo, SIGUSR1);
	CHECK_EQ(si.ssi_pid, getpid());
	prog_join(t);
	sigaddset(&s, SIGUSR2);
	CHECK_EQ(signalfd(fd, &s, 0), fd);
	CHECK_FAILS(signalfd(0, &s, 0), EINVAL);
	close(fd);

	ready_fd = fd = eventfd(0, 0);
	t = prog_start(makes_ready, NULL);
	CHECK_EQ(read(fd, &n, 8), 8);
	CHECK_EQ(n, 1);
	prog_join(t);
	CHECK_FAILS(read(fd, &n, 4), EINVAL);
	close(fd);

	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	CHECK_EQ(timerfd_settime(fd, 0, &soon, NULL), 0);
	CHECK_EQ(read(fd, &n, 8), 8);
	close(fd);

	CHECK(mkdtemp(name));
	for (int i = 0; i < 2; i++) {
		fd = i ? inotify_init1(IN_CLOEXEC) : inotify_init();
		CHECK(inotify_add_watch(fd, name, IN_CREATE) >= 0);
		dirfd = open(name, O_RDONLY);
		CHECK_EQ(close(openat(dirfd, i ? "b" : "a", O_CREAT | O_WRONLY, 0600)), 0);
		CHECK(read(fd, &ev, sizeof(ev)) > 0);
		CHECK_EQ(ev.e.mask, IN_CREATE);
		CHECK_EQ(unlinkat(dirfd, i ? "b" : "a", 0), 0);
		close(dirfd);
		close(fd);
	}
	CHECK_EQ(rmdir(name), 0);

	CHECK_FAILS(epoll_create(0), EINVAL);
	ep = epoll_create(1);
	fd = eventfd(1, 0);
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ee), 0);
	CHECK_EQ(epoll_wait(ep, &ee, 1, -1), 1);
	close(fd);
	close(ep);
	puts("anonymous ok");
}

static mqd_t mq;

static void *mq_peer(void *arg)
{
	prog_nap_ms(20);
	if (arg)
		CHECK_EQ(mq_receive(mq, buf, 16, NULL), 1);
	else
		CHECK_EQ(mq_send(mq, "m", 1, 7), 0);
	return arg;
}

static void *interrupts(void *arg)
{
	while (!handled) {
		prog_nap_ms(10);
		CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGUSR2), 0);
	}
	return arg;
}

static void queues(void)
{
	struct mq_attr attr = { .mq_maxmsg = 2, .mq_msgsize = 16 }, nonblock = { .mq_flags = O_NONBLOCK }, none = { 0 };
	struct sigaction sa = { .sa_handler = on_signal };
	struct timespec bad = { 0, -1 }, ago = { 1, 0 }, soon;
	pthread_t t, self = pthread_self();
	char name[40], msg[16];
	unsigned prio;

	snprintf(name, sizeof(name), "/gmpshim-%d", getpid());
	mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	if (mq == (mqd_t)-1) {
		puts("no queues");
		return;
	}
	mq_unlink(name);
	soon = prog_after_ms(CLOCK_REALTIME, 20);
	CHECK_FAILS(mq_timedreceive(mq, msg, 16, &prio, &soon), ETIMEDOUT);
	CHECK_FAILS(mq_timedreceive(mq, msg, 16, &prio, &ago), ETIMEDOUT);
	CHECK_FAILS(mq_receive(mq, msg, 1, &prio), EMSGSIZE);
	t = prog_start(mq_peer, NULL);
	CHECK_EQ(mq_receive(mq, msg, 16, &prio), 1);
	CHECK_EQ(prio, 7);
	prog_join(t);
	CHECK_EQ(mq_send(mq, "a", 1, 1), 0);
	CHECK_EQ(mq_timedsend(mq, "b", 1, 2, &ago), 0); /* there is room */
	CHECK_FAILS(mq_timedsend(mq, "c", 1, 2, &ago), ETIMEDOUT);
	CHECK_FAILS(mq_timedsend(mq, "c", 1, 2, &bad), EINVAL);
	soon = prog_after_ms(CLOCK_REALTIME, 20);
	CHECK_FAILS(mq_timedsend(mq, "c", 1, 2, &soon), ETIMEDOUT);
	CHECK_EQ(mq_setattr(mq, &nonblock, NULL), 0);
	CHECK_FAILS(mq_send(mq, "c", 1, 2), EAGAIN);
	CHECK_EQ(mq_setattr(mq, &none, NULL), 0);
	t = prog_start(mq_peer, &attr);
	CHECK_EQ(mq_send(mq, "c", 1, 3), 0); /* waits for room */
	prog_join(t);
	CHECK_EQ(mq_receive(mq, msg, 16, &prio), 1);
	CHECK_EQ(prio, 3);
	CHECK_EQ(mq_receive(mq, msg, 16, &prio), 1);
	/* a handler without SA_RESTART */
	CHECK_EQ(sigaction(SIGUSR2, &sa, NULL), 0);
	t = prog_start(interrupts, &self);
	CHECK_FAILS(mq_receive(mq, msg, 16, &prio), EINTR);
	prog_join(t);
	CHECK_EQ(mq_close(mq), 0);
	CHECK_FAILS(mq_receive(mq, msg, 16, &prio), EBADF);
	puts("queues ok");
}

static void *body(void *arg)
{
	messages();
	polls();
	anonymous();
	queues();
	return arg;
}

int main(void)
{
	sigset_t s;

	prog_init();
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &s, NULL), 0);
	prog_join(prog_start(body, NULL));
	return 0;
}
