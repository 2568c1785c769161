/* SPDX-License-Identifier: MIT */
/*
 * sendfile, splice, tee and vmsplice that wait, as in a native run: whole counts to a slow reader, every end that may
 * be waited for, O_NONBLOCK at either end, timeouts, signals, a reader that goes away, and errors that come at once
 * although an end is not ready. 100 threads that serve slow clients take few kernel threads.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#define BIG  (6 << 20)
#define MANY 100

static int file;	/* BIG bytes of a pattern */
static volatile int handled, pipes_seen;

static unsigned char pattern(long i)
{
	return (unsigned char)(i * 31 + i / 4096);
}

static void on_signal(int sig)
{
	if (sig == SIGPIPE)
		pipes_seen++;
	else
		handled++;
}

static void handle(int sig, int flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };

	CHECK_EQ(sigaction(sig, &act, NULL), 0);
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

static void nonblock(int fd, int on)
{
	CHECK_EQ(fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0), 0);
}

/* Fills what fd takes. */
static void fill(int fd)
{
	static char zeros[65536];

	nonblock(fd, 1);
	for (size_t n = sizeof(zeros); n > 0; n /= 2)
		while (write(fd, zeros, n) > 0)
			;
	CHECK_EQ(errno, EAGAIN);
	nonblock(fd, 0);
}

/* One read, so that the waiting writer goes on; what it writes stays. */
static void make_room(int fd)
{
	static char sink[65536];

	CHECK(read(fd, sink, sizeof(sink)) > 0);
}

static void drain(int fd)
{
	static char sink[65536];

	nonblock(fd, 1);
	while (read(fd, sink, sizeof(sink)) > 0)
		;
	nonblock(fd, 0);
}

/* Reads everything until the end, slowly at first, and compares. */
static void *reads_all(void *arg)
{
	int fd = *(int *)arg;
	unsigned char buf[30000];
	long at = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			CHECK_EQ(buf[i], pattern(at + i));
		at += n;
		if (at < BIG / 16)
			prog_nap_ms(1);
	}
	CHECK_EQ(n, 0);
	return (void *)at;
}

static void whole(void (*pair)(int s[2]), const char *what)
{
	off_t off = 0;
	pthread_t t;
	int s[2];

	pair(s);
	t = prog_start(reads_all, &s[1]);
	CHECK_EQ(sendfile(s[0], file, &off, BIG), BIG);
	CHECK_EQ(off, BIG);
	close(s[0]);
	CHECK_EQ((long)prog_join(t), BIG);
	close(s[1]);

	/* at the file's own offset, and past its end */
	pair(s);
	t = prog_start(reads_all, &s[1]);
	CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
	CHECK_EQ(sendfile(s[0], file, NULL, BIG + 12345), BIG);
	CHECK_EQ(sendfile(s[0], file, NULL, 1), 0);
	CHECK_EQ(lseek(file, 0, SEEK_CUR), BIG);
	close(s[0]);
	CHECK_EQ((long)prog_join(t), BIG);
	close(s[1]);
	printf("sendfile to %s ok\n", what);
}

/* One call that will wait. */
enum op { SENDFILE, SPLICE, TEE, VMSPLICE };

struct call {
	enum op op;
	int in, out;
	size_t n;
	unsigned flags;
	ssize_t ret;
	int err, done;
};

static void *calls(void *arg)
{
	static char mem[8192] = "user memory";
	struct call *c = arg;
	struct iovec iov = { mem, c->n < sizeof(mem) ? c->n : sizeof(mem) };
	off_t off = 0;

	switch (c->op) {
	case SENDFILE:
		c->ret = sendfile(c->out, c->in, &off, c->n);
		CHECK_EQ(off, c->ret > 0 ? c->ret : 0);
		break;
	case SPLICE:
		c->ret = splice(c->in, NULL, c->out, NULL, c->n, c->flags);
		break;
	case TEE:
		c->ret = tee(c->in, c->out, c->n, c->flags);
		break;
	case VMSPLICE:
		c->ret = vmsplice(c->out >= 0 ? c->out : c->in, &iov, 1, c->flags);
		break;
	}
	c->err = errno;
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return arg;
}

static pthread_t begin(struct call *c)
{
	pthread_t t;

	c->done = 0;
	t = prog_start(calls, c);
	prog_nap_ms(20);
	CHECK_EQ(__atomic_load_n(&c->done, __ATOMIC_ACQUIRE), 0);
	return t;
}

/* A signal before the thread waits does nothing to the call: until it has ended. */
static void interrupt(pthread_t t, const struct call *c)
{
	while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
		prog_nap_ms(5);
	}
	prog_join(t);
}

static void wait_readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	CHECK_EQ(poll(&p, 1, -1), 1);
}

static struct call call(enum op op, int in, int out, size_t n)
{
	return (struct call){ .op = op, .in = in, .out = out, .n = n };
}

static void ends(void)
{
	struct call c;
	int p[2], q[2], s[2];
	char buf[100];
	pthread_t t;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	unix_pair(s);
	/* an empty pipe: into a pipe, a socket, a file, and as tee */
	c = call(SPLICE, p[0], q[1], 100);
	t = begin(&c);
	CHECK_EQ(write(p[1], "abc", 3), 3);
	prog_join(t);
	CHECK_EQ(c.ret, 3);
	CHECK_EQ(read(q[0], buf, 100), 3);
	c = call(SPLICE, p[0], s[0], 100);
	t = begin(&c);
	CHECK_EQ(write(p[1], "abcd", 4), 4);
	prog_join(t);
	CHECK_EQ(c.ret, 4);
	CHECK_EQ(read(s[1], buf, 100), 4);
	c = call(TEE, p[0], q[1], 100);
	t = begin(&c);
	CHECK_EQ(write(p[1], "abcde", 5), 5);
	prog_join(t);
	CHECK_EQ(c.ret, 5);
	CHECK_EQ(read(q[0], buf, 100), 5);
	CHECK_EQ(read(p[0], buf, 100), 5);
	/* an empty socket */
	c = call(SPLICE, s[1], q[1], 100);
	t = begin(&c);
	CHECK_EQ(write(s[0], "abcdef", 6), 6);
	prog_join(t);
	CHECK_EQ(c.ret, 6);
	CHECK_EQ(read(q[0], buf, 100), 6);
	/* a full pipe: from a file, a pipe, a socket, memory */
	fill(q[1]);
	c = call(SENDFILE, file, q[1], 100);
	t = begin(&c);
	make_room(q[0]);
	prog_join(t);
	CHECK_EQ(c.ret, 100);
	drain(q[0]);
	fill(q[1]);
	CHECK_EQ(write(p[1], "abc", 3), 3);
	c = call(SPLICE, p[0], q[1], 100);
	t = begin(&c);
	make_room(q[0]);
	prog_join(t);
	CHECK_EQ(c.ret, 3);
	drain(q[0]);
	fill(q[1]);
	CHECK_EQ(write(s[0], "abc", 3), 3);
	c = call(SPLICE, s[1], q[1], 100);
	t = begin(&c);
	make_room(q[0]);
	prog_join(t);
	CHECK_EQ(c.ret, 3);
	drain(q[0]);
	fill(q[1]);
	c = call(VMSPLICE, -1, q[1], 100);
	t = begin(&c);
	make_room(q[0]);
	prog_join(t);
	CHECK_EQ(c.ret, 100);
	drain(q[0]);
	/* memory from an empty pipe */
	c = call(VMSPLICE, q[0], -1, 100);
	t = begin(&c);
	CHECK_EQ(write(q[1], "abcdefg", 7), 7);
	prog_join(t);
	CHECK_EQ(c.ret, 7);
	/* the end of the input */
	c = call(SPLICE, p[0], q[1], 100);
	t = begin(&c);
	close(p[1]);
	prog_join(t);
	CHECK_EQ(c.ret, 0);
	c = call(SPLICE, s[1], q[1], 100);
	t = begin(&c);
	CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
	prog_join(t);
	CHECK_EQ(c.ret, 0);
	close(p[0]);
	close(q[0]);
	close(q[1]);
	close(s[0]);
	close(s[1]);
	puts("each end ok");
}

static void *reads_slowly(void *arg)
{
	long at = 0;
	char buf[20000];
	ssize_t n;

	while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0) {
		at += n;
		prog_nap_ms(1);
	}
	return (void *)at;
}

/* All that a pipe has goes into a socket, however little room there is. */
static void pipe_to_socket(void)
{
	int p[2], s[2], have;
	struct call c;
	pthread_t t, r;
	long n;

	CHECK_EQ(pipe(p), 0);
	unix_pair(s);
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
	fill(p[1]);
	CHECK_EQ(ioctl(p[0], FIONREAD, &have), 0);
	n = have;
	c = call(SPLICE, p[0], s[0], 1 << 20);
	t = begin(&c); /* natively it holds a lock of the pipe's meanwhile, for which close would wait */
	r = prog_start(reads_slowly, &s[1]);
	prog_join(t);
	CHECK_EQ(c.ret, n);
	close(s[0]);
	CHECK_EQ((long)prog_join(r), n);
	close(p[0]);
	close(p[1]);
	close(s[1]);
	puts("pipe to socket ok");
}

static void no_wait(void)
{
	int p[2], q[2], s[2], l, n = 1;
	struct iovec iov = { "x", 1 };
	off_t off = 0;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);
	unix_pair(s);
	CHECK_FAILS(splice(p[0], NULL, q[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK_FAILS(tee(p[0], q[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
	nonblock(p[0], 1);
	CHECK_FAILS(splice(p[0], NULL, q[1], NULL, 1, 0), EAGAIN);
	CHECK_FAILS(splice(p[0], NULL, s[0], NULL, 1, 0), EAGAIN);
	nonblock(p[0], 0);
	nonblock(q[1], 1);
	CHECK_FAILS(splice(p[0], NULL, q[1], NULL, 1, 0), EAGAIN);
	CHECK_FAILS(tee(p[0], q[1], 1, 0), EAGAIN);
	fill(q[1]);
	nonblock(q[1], 1);
	CHECK_FAILS(sendfile(q[1], file, &off, 1), EAGAIN);
	CHECK_FAILS(vmsplice(q[1], &iov, 1, SPLICE_F_NONBLOCK), EAGAIN);
	fill(s[0]);
	nonblock(s[0], 1);
	CHECK_FAILS(sendfile(s[0], file, &off, 1), EAGAIN);
	nonblock(s[0], 0);
	/* wrong: at once, whatever is ready */
	CHECK_FAILS(sendfile(s[0], -1, &off, 1), EBADF);
	CHECK_FAILS(sendfile(s[0], p[0], &off, 1), ESPIPE);
	CHECK_FAILS(splice(p[1], NULL, q[1], NULL, 1, 0), EBADF);
	CHECK_FAILS(splice(p[0], NULL, q[0], NULL, 1, 0), EBADF);
	CHECK_FAILS(splice(p[0], NULL, p[1], NULL, 1, 0), EINVAL);
	CHECK_FAILS(tee(p[0], p[1], 1, 0), EINVAL);
	CHECK_FAILS(tee(p[0], s[0], 1, 0), EINVAL);
	CHECK_FAILS(splice(s[0], NULL, s[1], NULL, 1, 0), EINVAL);
	CHECK_FAILS(splice(p[0], &(off64_t){ 0 }, q[1], NULL, 1, 0), ESPIPE);
	CHECK_FAILS(splice(p[0], NULL, q[1], NULL, 1, 0x100), EINVAL);
	CHECK_EQ(splice(p[0], NULL, q[1], NULL, 0, 0), 0);
	CHECK_FAILS(splice(-1, NULL, q[1], NULL, 1, 0), EBADF);
	CHECK_EQ(tee(p[0], q[1], 0, 0), 0);
	drain(q[0]);
	nonblock(q[1], 0);
	l = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(listen(l, n), 0);
	CHECK_FAILS(splice(l, NULL, q[1], NULL, 1, 0), ENOTCONN);
	close(l);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
	close(s[0]);
	close(s[1]);
	puts("no wait ok");
}

static void broken(void)
{
	struct timeval tv = { 0, 50000 };
	struct call c;
	int p[2], s[2];
	pthread_t t;

	handle(SIGUSR1, 0);
	handle(SIGPIPE, 0);
	CHECK_EQ(pipe(p), 0);
	unix_pair(s);
	/* a signal before anything has moved, and after */
	c = call(SPLICE, p[0], s[0], 10);
	interrupt(begin(&c), &c);
	CHECK_EQ(c.ret, -1);
	CHECK_EQ(c.err, EINTR);
	c = call(SENDFILE, file, s[0], BIG);
	t = begin(&c);
	wait_readable(s[1]);
	interrupt(t, &c);
	CHECK(c.ret > 0 && c.ret < BIG);
	drain(s[1]);
	handle(SIGUSR1, SA_RESTART);
	handled = 0;
	c = call(SPLICE, p[0], s[0], 10);
	t = begin(&c);
	CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
	while (!handled)
		prog_nap_ms(1);
	prog_nap_ms(5);
	CHECK_EQ(c.done, 0);
	CHECK_EQ(write(p[1], "abc", 3), 3);
	prog_join(t);
	CHECK_EQ(c.ret, 3);
	/* time is up */
	drain(s[1]);
	fill(s[0]);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	c = call(SENDFILE, file, s[0], 10);
	prog_join(begin(&c));
	CHECK_EQ(c.ret, -1);
	CHECK_EQ(c.err, EAGAIN);
	CHECK_EQ(pipes_seen, 0);
	/* the reader goes away: the rest is not sent, SIGPIPE comes all the same */
	tv.tv_usec = 0;
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	drain(s[1]);
	c = call(SENDFILE, file, s[0], BIG);
	t = begin(&c);
	wait_readable(s[1]);
	prog_nap_ms(20);
	close(s[1]);
	prog_join(t);
	CHECK(c.ret > 0 && c.ret < BIG);
	CHECK(pipes_seen <= 1); /* one if no part of it was under way */
	pipes_seen = 0;
	CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
	CHECK_FAILS(sendfile(s[0], file, NULL, 10), EPIPE);
	CHECK_EQ(pipes_seen, 1);
	close(s[0]);
	/* a cancelled splice */
	c = call(SPLICE, p[0], file, 10);
	t = begin(&c);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	close(p[0]);
	close(p[1]);
	puts("broken ok");
}

static void many(void)
{
	static struct call c[MANY];
	static int s[MANY][2];
	pthread_t t[MANY];

	for (int i = 0; i < MANY; i++) {
		unix_pair(s[i]);
		c[i] = call(SENDFILE, file, s[i][0], 1 << 20);
		t[i] = prog_start(calls, &c[i]);
	}
	for (int i = 0; i < MANY; i++) {
		static char sink[65536];

		for (long at = 0; at < 1 << 20;) {
			ssize_t got = read(s[i][1], sink, sizeof(sink));

			CHECK(got > 0);
			at += got;
		}
		prog_join(t[i]);
		CHECK_EQ(c[i].ret, 1 << 20);
		close(s[i][0]);
		close(s[i][1]);
	}
	prog_few_kthreads(MANY);
	puts("many ok");
}

int main(void)
{
	unsigned char *p;

	prog_init();
	CHECK((file = memfd_create("data", 0)) >= 0);
	CHECK_EQ(ftruncate(file, BIG), 0);
	p = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(p != MAP_FAILED);
	for (long i = 0; i < BIG; i++)
		p[i] = pattern(i);
	munmap(p, BIG);
	whole(tcp_pair, "tcp");
	whole(unix_pair, "unix");
	ends();
	pipe_to_socket();
	no_wait();
	broken();
	many();
	return 0;
}
