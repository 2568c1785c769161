/* SPDX-License-Identifier: MIT */
/*
 * Blocking I/O to the letter: what Linux does in the odd cases, printed, so that a shimmed run must say the same. Each
 * case runs in a child of its own, which a timer ends if it hangs.
 */
#include "prog.h"

#include <aio.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

static volatile int handled;
static pthread_t handled_by;

static void on_signal(int sig)
{
	handled_by = pthread_self();
	handled++;
}

/*
 * Not blocked while the handler runs: the kernel would give the next one for the process to another thread, whose call
 * it would cut short.
 */
static void handle(int sig, int flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags | SA_NODEFER };

	CHECK_EQ(sigaction(sig, &act, NULL), 0);
}

/* A call in another thread. */
struct call {
	long (*fn)(struct call *c);
	int fd, fd2, flags;
	size_t n;
	void *buf;
	long ret;
	int err, begun, done;
	pthread_t t;
};

static void *runs(void *arg)
{
	struct call *c = arg;

	__atomic_store_n(&c->begun, 1, __ATOMIC_RELEASE);
	errno = 0;
	c->ret = c->fn(c);
	c->err = c->ret < 0 ? errno : 0;
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return arg;
}

static int is_done(const struct call *c)
{
	return __atomic_load_n(&c->done, __ATOMIC_ACQUIRE);
}

static void start(struct call *c)
{
	c->begun = c->done = 0;
	c->t = prog_start(runs, c);
	while (!__atomic_load_n(&c->begun, __ATOMIC_ACQUIRE))
		prog_nap_ms(1);
	prog_nap_ms(40);
}

static void finish(struct call *c)
{
	prog_join(c->t);
}

/* A signal before the thread waits does nothing to the call. */
static void interrupt(struct call *c)
{
	while (!is_done(c)) {
		CHECK_EQ(pthread_kill(c->t, SIGUSR1), 0);
		prog_nap_ms(5);
	}
	finish(c);
}

static void say(const char *what, const struct call *c)
{
	printf("  %s: %ld %s\n", what, c->ret, c->ret < 0 ? strerrorname_np(c->err) : "");
}

static char big[1 << 20];

static long do_read(struct call *c)
{
	return read(c->fd, c->buf ? c->buf : big, c->n);
}

static long do_write(struct call *c)
{
	return write(c->fd, c->buf ? c->buf : big, c->n);
}

static long do_recv(struct call *c)
{
	return recv(c->fd, c->buf ? c->buf : big, c->n, c->flags);
}

static long do_send(struct call *c)
{
	return send(c->fd, c->buf ? c->buf : big, c->n, c->flags);
}

static void tcp_pair(int s[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_EQ(bind(l, (struct sockaddr *)&a, len), 0);
	CHECK_EQ(listen(l, 1), 0);
	CHECK_EQ(getsockname(l, (struct sockaddr *)&a, &len), 0);
	CHECK((s[1] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK_EQ(connect(s[1], (struct sockaddr *)&a, len), 0);
	CHECK((s[0] = accept(l, NULL, NULL)) >= 0);
	close(l);
}

static void unix_pair(int s[2])
{
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
}

static void set_time(int fd, int opt, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	CHECK_EQ(setsockopt(fd, SOL_SOCKET, opt, &tv, sizeof(tv)), 0);
}

/* --- cases --- */

static void write_interrupted(void)
{
	struct call c = { .fn = do_write, .n = sizeof(big) };
	int p[2];

	handle(SIGUSR1, 0);
	CHECK_EQ(pipe(p), 0);
	c.fd = p[1];
	start(&c);
	interrupt(&c);
	say("a part was written", &c);
	c.n = 1;
	start(&c);
	interrupt(&c);
	say("nothing was written", &c);
	handle(SIGUSR1, SA_RESTART);
	handled = 0;
	start(&c);
	while (!handled) {
		pthread_kill(c.t, SIGUSR1);
		prog_nap_ms(5);
	}
	prog_nap_ms(10);
	CHECK_EQ(is_done(&c), 0);
	CHECK_EQ(read(p[0], big, 4096), 4096);
	finish(&c);
	say("restarted", &c);
}

static void recv_timeouts(void)
{
	struct call c = { .fn = do_recv, .n = 100 };
	int64_t t0;
	int s[2];

	handle(SIGUSR1, SA_RESTART);
	tcp_pair(s);
	c.fd = s[0];
	set_time(s[0], SO_RCVTIMEO, 60);
	t0 = prog_now_ns(CLOCK_MONOTONIC);
	start(&c);
	finish(&c);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - t0 >= 59000000);
	say("timed out", &c);
	c.fn = do_read;
	start(&c);
	finish(&c);
	say("read timed out", &c);
	c.fn = do_recv;
	c.flags = MSG_WAITALL;
	CHECK_EQ(send(s[1], "abc", 3, 0), 3);
	start(&c);
	finish(&c);
	say("WAITALL timed out after a part", &c);
	set_time(s[0], SO_RCVTIMEO, 60000);
	c.flags = 0;
	start(&c);
	interrupt(&c);
	say("with a timeout SA_RESTART does not restart", &c);
	c.flags = MSG_WAITALL;
	CHECK_EQ(send(s[1], "abcd", 4, 0), 4);
	start(&c);
	interrupt(&c);
	say("WAITALL interrupted after a part", &c);
	set_time(s[0], SO_RCVTIMEO, 0);
	start(&c);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(send(s[1], "x", 1, 0), 1);
		if (i % 10 == 0)
			pthread_kill(c.t, SIGUSR1);
	}
	finish(&c);
	printf("  WAITALL with SA_RESTART: %s\n", c.ret > 0 && c.ret <= 100 ? "some" : "none");
	close(s[1]);
}

static void waitall_ends(void)
{
	struct call c = { .fn = do_recv, .n = 10, .flags = MSG_WAITALL };
	int s[2];

	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(s) : unix_pair(s);
		c.fd = s[0];
		CHECK_EQ(send(s[1], "abc", 3, 0), 3);
		start(&c);
		CHECK_EQ(is_done(&c), 0);
		close(s[1]);
		finish(&c);
		say("end of file", &c);
		close(s[0]);
	}
	unix_pair(s);
	c.fd = s[0];
	c.flags = MSG_WAITALL | MSG_PEEK;
	CHECK_EQ(send(s[1], "abc", 3, 0), 3);
	start(&c);
	CHECK_EQ(send(s[1], "0123456789", 10, 0), 10);
	finish(&c);
	printf("  PEEK and WAITALL: %s\n", c.ret >= 3 && c.ret <= 10 ? "ok" : "wrong");
	c.flags = MSG_PEEK;
	start(&c);
	finish(&c);
	say("PEEK", &c);
	c.n = 13;
	c.flags = MSG_WAITALL;
	start(&c);
	finish(&c);
	say("all is still there", &c);
}

static void broken_pipe(void)
{
	struct call c = { .fn = do_write, .n = sizeof(big) };
	int p[2], s[2];

	handle(SIGPIPE, 0);
	CHECK_EQ(pipe(p), 0);
	c.fd = p[1];
	start(&c);
	close(p[0]);
	finish(&c);
	say("pipe, after a part", &c);
	printf("  SIGPIPE %d\n", handled);
	handled = 0;
	c.n = 1;
	start(&c);
	finish(&c);
	say("pipe, at once", &c);
	printf("  SIGPIPE %d, to the thread %d\n", handled, pthread_equal(handled_by, c.t) != 0);
	handled = 0;
	unix_pair(s);
	c.fd = s[0];
	c.fn = do_send;
	c.n = sizeof(big);
	start(&c);
	close(s[1]);
	finish(&c);
	printf("  socket, after a part: %s\n", c.ret > 0 && c.ret < (long)sizeof(big) ? "part" : "?");
	printf("  SIGPIPE %d\n", handled);
	handled = 0;
	c.flags = MSG_NOSIGNAL;
	start(&c);
	finish(&c);
	printf("  socket, NOSIGNAL: %ld %s, SIGPIPE %d\n", c.ret, strerrorname_np(c.err), handled);
}

/* A thread that has SIGPIPE blocked has it pending, and nobody else gets it. */
static long writes_blocked(struct call *c)
{
	struct timespec zero = { 0, 0 };
	sigset_t set, pending;
	int n;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK_EQ(c->n ? send(c->fd, "x", 1, c->flags) : write(c->fd, "x", 1), -1);
	CHECK_EQ(errno, EPIPE);
	sched_yield();
	prog_nap_ms(5);
	sigpending(&pending);
	n = sigismember(&pending, SIGPIPE);
	if (n) {
		siginfo_t info;

		CHECK_EQ(sigtimedwait(&set, &info, &zero), SIGPIPE);
		CHECK(info.si_code == SI_USER && info.si_pid == getpid());
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return n;
}

static volatile int stop;

static long spins(struct call *c)
{
	while (!stop)
		sched_yield();
	return 0;
}

static void blocked_sigpipe(void)
{
	struct call other = { .fn = spins }, c = { .fn = writes_blocked };
	char path[] = "/tmp/gmpshim-fifo-XXXXXX";
	int p[2], s[2], rd;

	signal(SIGPIPE, SIG_DFL); /* would end the process */
	start(&other);
	CHECK_EQ(pipe(p), 0);
	close(p[0]);
	c.fd = p[1];
	for (int i = 0; i < 5; i++) {
		start(&c);
		finish(&c);
	}
	say("pipe, pending", &c);
	CHECK(mkdtemp(path));
	CHECK_EQ(rmdir(path), 0);
	CHECK_EQ(mkfifo(path, 0600), 0);
	CHECK((rd = open(path, O_RDONLY | O_NONBLOCK)) >= 0);
	CHECK((c.fd = open(path, O_WRONLY)) >= 0);
	close(rd);
	unlink(path);
	start(&c);
	finish(&c);
	say("FIFO, pending", &c);
	unix_pair(s);
	close(s[1]);
	c.fd = s[0];
	start(&c);
	finish(&c);
	say("socket, write, pending", &c);
	c.n = 1;
	start(&c);
	finish(&c);
	say("socket, send, pending", &c);
	c.flags = MSG_DONTWAIT;
	start(&c);
	finish(&c);
	say("socket, MSG_DONTWAIT, pending", &c);
	c.flags = MSG_NOSIGNAL;
	start(&c);
	finish(&c);
	say("socket, MSG_NOSIGNAL, pending", &c);
	stop = 1;
	finish(&other);
}

static void closed_while_parked(void)
{
	struct call c = { .fn = do_read, .n = 10 };
	int p[2], q[2], s[2];

	CHECK_EQ(pipe(p), 0);
	c.fd = p[0];
	start(&c);
	CHECK_EQ(close(p[0]), 0);
	prog_nap_ms(20);
	printf("  closed: the reader %s\n", is_done(&c) ? "is back" : "waits on");
	CHECK_EQ(write(p[1], "old", 3), 3);
	finish(&c);
	say("closed, then written", &c);
	close(p[1]);

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	c.fd = p[0];
	c.buf = calloc(1, 10);
	start(&c);
	CHECK_EQ(dup2(q[0], p[0]), p[0]);
	CHECK_EQ(write(q[1], "NEW", 3), 3);
	prog_nap_ms(20);
	printf("  replaced: the reader %s\n", is_done(&c) ? "is back" : "waits on");
	CHECK_EQ(write(p[1], "old", 3), 3);
	finish(&c);
	printf("  replaced: it got %s\n", (char *)c.buf);
	CHECK_EQ(read(p[0], big, 10), 3);

	unix_pair(s);
	c.fd = s[0];
	start(&c);
	CHECK_EQ(shutdown(s[0], SHUT_RD), 0);
	finish(&c);
	say("shutdown", &c);
	c.fn = do_write;
	c.buf = NULL;
	c.n = sizeof(big);
	handle(SIGPIPE, 0);
	start(&c);
	CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
	finish(&c);
	printf("  shutdown of a writer: %s\n", c.ret > 0 && c.ret < (long)sizeof(big) ? "a part" : "?");
}

/* Descriptors that came by a socket have whatever was set on them. */
static void passed(void)
{
	struct call c = { .fn = do_read, .n = 10 };
	char room[CMSG_SPACE(2 * sizeof(int))] = { 0 }, b[2];
	struct iovec iov = { b, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int s[2], fds[2], p[2], t[2];

	unix_pair(s);
	if (fork() == 0) {
		CHECK_EQ(pipe(p), 0);
		tcp_pair(t);
		CHECK_EQ(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
		set_time(t[0], SO_RCVTIMEO, 50);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(2 * sizeof(int));
		memcpy(CMSG_DATA(h), (int[]){ p[0], t[0] }, 2 * sizeof(int));
		CHECK_EQ(sendmsg(s[1], &m, 0), 1);
		CHECK_EQ(read(s[1], b, 1), 0);	/* keeps the far ends until the parent is through */
		_exit(0);
	}
	close(s[1]);
	CHECK_EQ(recvmsg(s[0], &m, 0), 1);
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fds));
	c.fd = fds[0];
	start(&c);
	finish(&c);
	say("an empty pipe with O_NONBLOCK", &c);
	c.fd = fds[1];
	start(&c);
	finish(&c);
	say("a socket with a timeout, read", &c);
	c.fn = do_recv;
	start(&c);
	finish(&c);
	say("recv", &c);
	shutdown(s[0], SHUT_WR);
	CHECK(wait(NULL) > 0);
}

static long do_sendto_full(struct call *c)
{
	return sendto(c->fd, "y", 1, 0, c->buf, sizeof(sa_family_t) + 6);
}

/* A datagram socket without a peer is always writable, says poll; the receiver's queue is full all the same. */
static void dgram_full(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	struct call c = { .fn = do_sendto_full, .buf = &a };
	int64_t cpu;
	int r, n = 0;

	CHECK((r = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
	CHECK_EQ(bind(r, (struct sockaddr *)&a, sizeof(sa_family_t)), 0);
	CHECK_EQ(getsockname(r, (struct sockaddr *)&a, &len), 0);
	CHECK_EQ(len, sizeof(sa_family_t) + 6);
	CHECK((c.fd = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
	while (sendto(c.fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&a, len) == 1)
		n++;
	printf("  %d datagrams, then %s\n", n, strerrorname_np(errno));
	start(&c);
	cpu = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID);
	prog_nap_ms(200);
	CHECK_EQ(is_done(&c), 0);
	CHECK(prog_now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 100000000);
	CHECK_EQ(recv(r, big, 1, 0), 1);
	finish(&c);
	say("sent when there was room", &c);
}

static long do_select_many(struct call *c)
{
	fd_set *set = c->buf;

	return select((int)c->n, set, NULL, NULL, NULL);
}

static long do_poll(struct call *c)
{
	return poll(c->buf, c->n, c->flags);
}

/* More than FD_SETSIZE descriptors. */
static void high_numbers(void)
{
	enum { HIGH = 3000 };
	static uint64_t set[HIGH / 64 + 2];
	struct rlimit lim = { 4096, 4096 };
	static struct pollfd many[1500];
	struct call c = { .fn = do_select_many, .buf = set, .n = HIGH + 1 };
	int p[2];

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max < 4096 ? lim.rlim_max : 4096;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lim), 0);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(dup2(p[0], HIGH), HIGH);
	set[HIGH / 64] = UINT64_C(1) << HIGH % 64;
	start(&c);
	CHECK_EQ(is_done(&c), 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	finish(&c);
	say("select", &c);
	printf("  its bit is %d\n", (int)(set[HIGH / 64] >> HIGH % 64 & 1));
	CHECK_EQ(read(HIGH, big, 1), 1);
	for (int i = 0; i < 1500; i++)
		many[i] = (struct pollfd){ i % 3 ? HIGH : -1, POLLIN, 0 };
	c = (struct call){ .fn = do_poll, .buf = many, .n = 1500, .flags = -1 };
	start(&c);
	CHECK_EQ(is_done(&c), 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	finish(&c);
	say("poll", &c);
}

static void no_numbers_left(void)
{
	struct rlimit lim, low;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), fds[3], last;

	CHECK_EQ(bind(l, (struct sockaddr *)&a, len), 0);
	CHECK_EQ(listen(l, 1), 0);
	last = dup(0);
	close(last);
	getrlimit(RLIMIT_NOFILE, &lim);
	low = lim;
	low.rlim_cur = (rlim_t)last;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	CHECK_FAILS(pipe(fds), EMFILE);
	CHECK_FAILS(dup(0), EMFILE);
	CHECK_FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	CHECK_FAILS(open("/dev/null", O_RDONLY), EMFILE);
	CHECK_FAILS(epoll_create1(0), EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lim), 0);
	puts("  EMFILE");
}

static long do_epoll(struct call *c)
{
	struct epoll_event ev[4];

	return epoll_wait(c->fd, ev, (int)c->n, c->flags);
}

static void add(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
}

static void epolls(void)
{
	struct call c[4];
	int ep, in, p[2], n;

	CHECK_EQ(pipe(p), 0);
	CHECK((in = epoll_create1(0)) >= 0);
	CHECK((ep = epoll_create1(0)) >= 0);
	add(in, p[0], EPOLLIN);
	add(ep, in, EPOLLIN);
	for (int i = 0; i < 4; i++)
		c[i] = (struct call){ .fn = do_epoll, .fd = ep, .n = 4, .flags = -1 };
	start(&c[0]);
	CHECK_EQ(is_done(&c[0]), 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	finish(&c[0]);
	say("nested", &c[0]);
	c[0].flags = 0;
	start(&c[0]);
	finish(&c[0]);
	say("nested, level: still there", &c[0]);
	CHECK_EQ(read(p[0], big, 1), 1);
	close(ep);
	close(in);

	/* one-shot: four waiters, one is told */
	CHECK((ep = epoll_create1(0)) >= 0);
	add(ep, p[0], EPOLLIN | EPOLLONESHOT);
	for (int i = 0; i < 4; i++) {
		c[i] = (struct call){ .fn = do_epoll, .fd = ep, .n = 4, .flags = 300 };
		start(&c[i]);
	}
	CHECK_EQ(write(p[1], "x", 1), 1);
	n = 0;
	for (int i = 0; i < 4; i++) {
		finish(&c[i]);
		n += (int)c[i].ret;
	}
	printf("  one-shot: %d of 4 told\n", n);
	CHECK_EQ(read(p[0], big, 1), 1);
	close(ep);

	/* level: each waiter is told while it is there */
	CHECK((ep = epoll_create1(0)) >= 0);
	add(ep, p[0], EPOLLIN);
	for (int i = 0; i < 4; i++) {
		c[i] = (struct call){ .fn = do_epoll, .fd = ep, .n = 1, .flags = -1 };
		start(&c[i]);
	}
	CHECK_EQ(write(p[1], "x", 1), 1);
	for (int i = 0; i < 4; i++)
		finish(&c[i]);
	puts("  level: all told");
	CHECK_EQ(read(p[0], big, 1), 1);
	close(ep);

	/* edge: one event, one waiter */
	CHECK((ep = epoll_create1(0)) >= 0);
	add(ep, p[0], EPOLLIN | EPOLLET);
	for (int i = 0; i < 4; i++) {
		c[i] = (struct call){ .fn = do_epoll, .fd = ep, .n = 4, .flags = 300 };
		start(&c[i]);
	}
	CHECK_EQ(write(p[1], "x", 1), 1);
	n = 0;
	for (int i = 0; i < 4; i++) {
		finish(&c[i]);
		n += (int)c[i].ret;
	}
	printf("  edge: %d of 4 told\n", n);
	CHECK_EQ(read(p[0], big, 1), 1);

	/* exclusive, two sets on one pipe */
	in = epoll_create1(0);
	close(ep);
	ep = epoll_create1(0);
	add(ep, p[0], EPOLLIN | EPOLLEXCLUSIVE);
	add(in, p[0], EPOLLIN | EPOLLEXCLUSIVE);
	for (int i = 0; i < 2; i++) {
		c[i] = (struct call){ .fn = do_epoll, .fd = i ? in : ep, .n = 4, .flags = 300 };
		start(&c[i]);
	}
	CHECK_EQ(write(p[1], "x", 1), 1);
	n = 0;
	for (int i = 0; i < 2; i++) {
		finish(&c[i]);
		n += (int)c[i].ret;
	}
	printf("  exclusive: %s\n", n >= 1 ? "at least one told" : "nobody told");
	/* changed while somebody waits */
	close(ep);
	ep = epoll_create1(0);
	c[0] = (struct call){ .fn = do_epoll, .fd = ep, .n = 4, .flags = -1 };
	start(&c[0]);
	CHECK_EQ(is_done(&c[0]), 0);
	add(ep, p[0], EPOLLIN);
	finish(&c[0]);
	say("added while waited for", &c[0]);
	CHECK_FAILS(epoll_wait(p[0], &(struct epoll_event){ 0 }, 1, 0), EINVAL);
	CHECK_FAILS(epoll_wait(ep, &(struct epoll_event){ 0 }, 0, -1), EINVAL);
	CHECK_FAILS(epoll_wait(-1, &(struct epoll_event){ 0 }, 1, -1), EBADF);
}

static void anonymous(void)
{
	struct itimerspec its = { .it_value.tv_nsec = 30000000 };
	struct call c = { .fn = do_read, .n = 8 };
	struct signalfd_siginfo info;
	char dir[] = "/tmp/gmpshim-letter-XXXXXX", path[100];
	uint64_t v = 0;
	sigset_t set;
	pid_t pid;
	int fd, sp[2];

	CHECK((fd = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
	c.fd = fd;
	c.buf = &v;
	CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
	start(&c);
	finish(&c);
	printf("  timerfd: %ld, %lu\n", c.ret, (unsigned long)v);
	CHECK_FAILS(write(fd, &v, 8), EINVAL);
	close(fd);

	CHECK((fd = eventfd(0, EFD_SEMAPHORE)) >= 0);
	c.fd = fd;
	start(&c);
	v = 2;
	CHECK_EQ(write(fd, &v, 8), 8);
	finish(&c);
	printf("  semaphore: %ld, %lu\n", c.ret, (unsigned long)v);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_FAILS(read(fd, &v, 4), EINVAL);
	close(fd);
	CHECK((fd = eventfd(1, 0)) >= 0);
	v = UINT64_MAX - 1;
	c = (struct call){ .fn = do_write, .fd = fd, .n = 8, .buf = &v };
	start(&c);
	printf("  a full eventfd: the writer %s\n", is_done(&c) ? "is back" : "waits");
	CHECK_EQ(read(fd, &(uint64_t){ 0 }, 8), 8);
	finish(&c);
	say("full eventfd", &c);
	close(fd);

	CHECK(mkdtemp(dir));
	CHECK((fd = inotify_init1(0)) >= 0);
	CHECK(inotify_add_watch(fd, dir, IN_CREATE) >= 0);
	c = (struct call){ .fn = do_read, .fd = fd, .n = 4096 };
	start(&c);
	CHECK_EQ(is_done(&c), 0);
	snprintf(path, sizeof(path), "%s/f", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	finish(&c);
	say("inotify", &c);
	c.n = 1;
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	start(&c);
	finish(&c);
	say("inotify, no room", &c);
	unlink(path);
	rmdir(dir);
	close(fd);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK((fd = signalfd(-1, &set, 0)) >= 0);
	c = (struct call){ .fn = do_read, .fd = fd, .n = sizeof(info), .buf = &info };
	start(&c);
	CHECK_EQ(is_done(&c), 0);
	kill(getpid(), SIGUSR2);
	finish(&c);
	printf("  signalfd: %s, signal %d\n", c.ret == sizeof(info) ? "whole" : "?", (int)info.ssi_signo);
	close(fd);

	unix_pair(sp);
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(read(sp[1], big, 1), 1);
		_exit(3);
	}
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd >= 0) {
		struct pollfd p = { fd, POLLIN, 0 };

		c = (struct call){ .fn = do_poll, .buf = &p, .n = 1, .flags = -1 };
		start(&c);
		CHECK_EQ(is_done(&c), 0);
		CHECK_EQ(write(sp[0], "x", 1), 1);
		finish(&c);
		CHECK(p.revents == POLLIN);
		CHECK_FAILS(read(fd, big, 1), EINVAL);
	} else {
		CHECK_EQ(write(sp[0], "x", 1), 1);
	}
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	puts("  pidfd ok");
}

static void plain_files(void)
{
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
	int mem = memfd_create("m", 0), proc = open("/proc/self/status", O_RDONLY);
	struct iovec v[2] = { { big, 10 }, { big + 10, 10 } };
	struct pollfd p[3] = { { null, POLLIN | POLLOUT, 0 }, { mem, POLLIN | POLLOUT, 0 }, { proc, POLLIN, 0 } };
	static const volatile int odd[] = { -1, 1025, 2000 };
	char *volatile bad = (char *)16;
	char b[8];
	int pp[2];

	printf("  null %zd %zd\n", read(null, b, 8), write(null, b, 8));
	printf("  zero %zd %zd\n", read(zero, b, 8), write(zero, b, 8));
	CHECK_FAILS(write(full, b, 8), ENOSPC);
	CHECK_EQ(writev(mem, v, 2), 20);
	CHECK_EQ(pread(mem, b, 8, 16), 4);
	CHECK_EQ(preadv2(mem, v, 2, 0, 0), 20);
	printf("  memfd, NOWAIT: %zd\n", preadv2(mem, v, 2, 0, RWF_NOWAIT));
	CHECK_FAILS(preadv2(mem, v, 2, 0, 0x40000000), EOPNOTSUPP);
	CHECK(read(proc, big, 100) == 100);
	printf("  poll %d:", poll(p, 3, -1));
	for (int i = 0; i < 3; i++)
		printf(" %x", p[i].revents);
	puts("");
	CHECK_EQ(pipe(pp), 0);
	CHECK_FAILS(preadv2(pp[0], v, 1, -1, RWF_NOWAIT), EAGAIN);
	CHECK_FAILS(preadv2(pp[0], v, 1, 5, 0), ESPIPE);
	CHECK_FAILS(pread(pp[0], b, 1, 0), ESPIPE);
	CHECK_FAILS(read(pp[1], b, 1), EBADF);
	CHECK_FAILS(write(pp[0], b, 1), EBADF);
	for (size_t i = 0; i < 3; i++) { /* the compiler knows better of constants */
		CHECK_FAILS(readv(pp[0], v, odd[i]), EINVAL);
		CHECK_FAILS(writev(pp[1], v, odd[i]), EINVAL);
	}
	CHECK_EQ(write(pp[1], "0123456789abcdef", 16), 16);
	CHECK_EQ(readv(pp[0], v, 2), 16);
	CHECK_EQ(write(pp[1], "", 0), 0);
	CHECK_FAILS(write(pp[1], bad, 1), EFAULT);
	CHECK_EQ(write(pp[1], "x", 1), 1);
	CHECK_FAILS(read(pp[0], bad, 1), EFAULT);
}

static long do_recvmmsg(struct call *c)
{
	struct mmsghdr m[3];
	struct iovec iov[3];
	struct timespec ts = { 0, 100000000 };

	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ big + 100 * i, 100 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	return recvmmsg(c->fd, m, 3, c->flags, c->n ? &ts : NULL);
}

static void many_messages(void)
{
	struct call c = { .fn = do_recvmmsg };
	int s[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	c.fd = s[0];
	start(&c);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	prog_nap_ms(10);
	CHECK_EQ(is_done(&c), 0);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	finish(&c);
	say("three", &c);
	c.flags = MSG_WAITFORONE;
	start(&c);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	finish(&c);
	say("one", &c);
	c.flags = 0;
	c.n = 1;
	start(&c);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	prog_nap_ms(120);
	CHECK_EQ(send(s[1], "a", 1, 0), 1); /* the time is looked at when a message has come */
	finish(&c);
	printf("  with a timeout: %s\n", c.ret == 1 || c.ret == 2 ? "what was there" : "?");
	while (recv(s[0], big, 1, MSG_DONTWAIT) > 0)
		;
	/* interrupted after one: the count */
	handle(SIGUSR1, 0);
	c.n = 0;
	start(&c);
	CHECK_EQ(send(s[1], "a", 1, 0), 1);
	prog_nap_ms(20);
	interrupt(&c);
	say("interrupted", &c);
}

static void reset(void)
{
	struct linger lg = { 1, 0 };
	struct call c = { .fn = do_recv, .n = 10 };
	int s[2];

	tcp_pair(s);
	c.fd = s[0];
	start(&c);
	CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)), 0);
	close(s[1]);
	finish(&c);
	say("reset", &c);
	start(&c);
	finish(&c);
	say("and then", &c);
	handle(SIGPIPE, 0);
	c.fn = do_send;
	start(&c);
	finish(&c);
	printf("  send %ld %s, SIGPIPE %d\n", c.ret, strerrorname_np(c.err), handled);
	tcp_pair(s);
	c = (struct call){ .fn = do_send, .fd = s[0], .n = sizeof(big) };
	for (int i = 0; i < 8; i++) {
		start(&c);
		if (!is_done(&c))
			break;
		finish(&c);
	}
	CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)), 0);
	close(s[1]);
	finish(&c);
	printf("  reset in the middle of a send: %s\n", c.ret > 0 && c.ret < (long)sizeof(big) ? "a part" : "?");
}

static void pty_master(void)
{
	struct call c = { .fn = do_read, .n = 100 };
	int m, s;

	CHECK((m = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
	CHECK_EQ(unlockpt(m), 0);
	c.fd = m;
	start(&c);
	printf("  without a slave: %s\n", is_done(&c) ? "back" : "waits");
	CHECK((s = open(ptsname(m), O_RDWR | O_NOCTTY)) >= 0);
	CHECK_EQ(write(s, "hello", 5), 5);
	finish(&c);
	say("from the slave", &c);
	handle(SIGUSR1, 0);
	start(&c);
	interrupt(&c);
	say("interrupted", &c);
	CHECK_EQ(fcntl(m, F_SETFL, O_NONBLOCK), 0);
	CHECK_FAILS(read(m, big, 1), EAGAIN);
	CHECK_EQ(fcntl(m, F_SETFL, 0), 0);
	CHECK_EQ(write(m, "line\n", 5), 5);
	CHECK_EQ(read(s, big, 100), 5);
	CHECK_EQ(read(m, big, 100), 6); /* the echo */
	CHECK_EQ(tcflush(s, TCIOFLUSH), 0);
	CHECK_FAILS(recv(m, big, 1, 0), ENOTSOCK);
	close(s);
	do {
		start(&c);
		finish(&c);
	} while (c.ret > 0);
	say("the slave is closed", &c);
}

static long do_semtimedop(struct call *c)
{
	struct sembuf down = { .sem_op = -1 };
	struct timespec ts = { 0, 200000000 };

	return semtimedop(c->fd, &down, 1, &ts);
}

static long do_futex(struct call *c)
{
	struct timespec ts = { 0, 200000000 };

	return syscall(SYS_futex, c->buf, FUTEX_WAIT, 0, &ts, NULL, 0);
}

static long do_aio_suspend(struct call *c)
{
	const struct aiocb *list[1] = { c->buf };
	struct timespec ts = { 0, 200000000 };

	return aio_suspend(list, 1, &ts);
}

static long do_listio(struct call *c)
{
	struct aiocb *list[1] = { c->buf };

	return lio_listio(LIO_WAIT, list, 1, NULL);
}

static long do_writev(struct call *c)
{
	struct iovec v[2] = { { big, c->n / 2 }, { big, c->n / 2 } };

	return writev(c->fd, v, 2);
}

/*
 * From here on a child sends SIGUSR1 to the process: the kernel gives that to the main thread. One of a timer could go
 * to the thread that it interrupts.
 */
static pid_t begin_signals(long ms)
{
	pid_t parent = getpid(), pid = fork();

	CHECK(pid >= 0);
	while (pid == 0) {
		prog_nap_ms(ms);
		if (kill(parent, SIGUSR1) != 0)
			_exit(0);
	}
	return pid;
}

static void end_signals(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGKILL), 0);
	while (waitpid(pid, NULL, 0) == -1)
		CHECK_EQ(errno, EINTR);
}

/* Signals for the main thread do not cut short what another writes to a terminal. */
static void tty_written_whole(void)
{
	struct termios raw;
	pid_t sender;
	int m, s;

	handle(SIGUSR1, SA_RESTART);
	CHECK((m = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
	CHECK_EQ(unlockpt(m), 0);
	CHECK((s = open(ptsname(m), O_RDWR | O_NOCTTY)) >= 0);
	CHECK_EQ(tcgetattr(s, &raw), 0);
	cfmakeraw(&raw);
	CHECK_EQ(tcsetattr(s, TCSANOW, &raw), 0);
	sender = begin_signals(3);
	for (int i = 0; i < 2; i++) {
		struct call c = { .fn = i ? do_writev : do_write, .fd = s, .n = 100000 };

		start(&c);
		CHECK_EQ(is_done(&c), 0);
		for (long at = 0; at < 100000;) {
			ssize_t n = read(m, big, 4096);

			CHECK(n > 0 || errno == EINTR);
			at += n > 0 ? n : 0;
			if (at < 20000)
				prog_nap_ms(5);
		}
		finish(&c);
		say("written", &c);
	}
	end_signals(sender);
}

/* A signal without SA_RESTART for another thread: what was asked for is done once. */
static void listed_once(void)
{
	static struct aiocb cb;
	struct call c = { .fn = do_listio, .buf = &cb };
	pid_t sender;
	int p[2];
	char b[100];

	handle(SIGUSR1, 0);
	CHECK_EQ(pipe(p), 0);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 4096) >= 4096);
	CHECK_EQ(write(p[1], big, 4096), 4096); /* the request waits for room */
	cb = (struct aiocb){ .aio_fildes = p[1], .aio_buf = "once", .aio_nbytes = 4, .aio_lio_opcode = LIO_WRITE };
	start(&c);
	sender = begin_signals(5);
	for (int i = 0; i < 40; i++)
		prog_nap_ms(5);
	CHECK_EQ(is_done(&c), 0);
	end_signals(sender);
	CHECK_EQ(read(p[0], big, 4096), 4096);
	finish(&c);
	say("lio_listio", &c);
	CHECK_EQ(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	prog_nap_ms(20);
	printf("  written: %zd\n", read(p[0], b, sizeof(b)));
}

/* Signals for the main thread, which takes them all, do not make the limits of others begin anew. */
static void time_goes_on(void)
{
	static long (*const fns[])(struct call *) = { do_semtimedop, do_futex, do_aio_suspend };
	static struct aiocb cb;
	static int word;
	pid_t sender;
	int p[2];

	/* The kernel prefers the first thread of the process, which under the shim may run any of them. */
	handle(SIGUSR1, SA_RESTART);
	sender = begin_signals(5);
	CHECK_EQ(pipe(p), 0);
	cb = (struct aiocb){ .aio_fildes = p[0], .aio_buf = big, .aio_nbytes = 1 };
	CHECK_EQ(aio_read(&cb), 0);
	for (int i = 0; i < 3; i++) {
		struct call c = { .fn = fns[i], .buf = i == 1 ? (void *)&word : &cb };

		CHECK((c.fd = semget(IPC_PRIVATE, 1, 0600)) >= 0);
		start(&c);
		while (!is_done(&c))
			prog_nap_ms(2);
		finish(&c);
		printf("  %s\n", c.ret == -1 ? strerrorname_np(c.err) : "?");
		semctl(c.fd, 0, IPC_RMID);
	}
	end_signals(sender);
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
	{ "write_interrupted", write_interrupted },
	{ "recv_timeouts", recv_timeouts },
	{ "waitall_ends", waitall_ends },
	{ "broken_pipe", broken_pipe },
	{ "blocked_sigpipe", blocked_sigpipe },
	{ "closed_while_parked", closed_while_parked },
	{ "passed", passed },
	{ "dgram_full", dgram_full },
	{ "high_numbers", high_numbers },
	{ "no_numbers_left", no_numbers_left },
	{ "epolls", epolls },
	{ "anonymous", anonymous },
	{ "plain_files", plain_files },
	{ "many_messages", many_messages },
	{ "reset", reset },
	{ "pty_master", pty_master },
	{ "time_goes_on", time_goes_on },
	{ "listed_once", listed_once },
	{ "tty_written_whole", tty_written_whole },
};

int main(int argc, char **argv)
{
	prog_init();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status;
		pid_t pid;

		if (argc > 1 && strcmp(argv[1], cases[i].name) != 0)
			continue;
		printf("%s\n", cases[i].name);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			alarm(100);
			cases[i].fn();
			fflush(stdout);
			_exit(0);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		printf("%s: status %x\n", cases[i].name, (unsigned)status);
	}
	return 0;
}
