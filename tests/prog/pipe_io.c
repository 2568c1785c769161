/* SPDX-License-Identifier: MIT */
/*
 * Pipes: ping-pong, 1 MB through a small pipe in one write, atomic small writes, EOF, EPIPE,
 * vectors, and O_NONBLOCK, which the program sets itself and must keep exactly as it set it.
 */
#include "prog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define BIG	((size_t)1 << 20)

struct two {
	int in, out;
};

static void read_all(int fd, void *buf, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (char *)buf + got, n - got);

		CHECK(r > 0);
		got += (size_t)r;
	}
}

static void *echoes(void *arg)
{
	struct two *fds = arg;
	long v;

	while (read(fds->in, &v, sizeof(v)) == sizeof(v)) {
		v++;
		CHECK_EQ(write(fds->out, &v, sizeof(v)), sizeof(v));
	}
	close(fds->out);
	return NULL;
}

static void *writes_big(void *arg)
{
	unsigned char *buf = malloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		buf[i] = (unsigned char)(i * 7 + i / 4096);
	/* a blocking write returns only when all is written */
	CHECK_EQ(write(*(int *)arg, buf, BIG), BIG);
	struct iovec iov[3] = { { buf, 100000 },
				{ buf + 100000, 1 },
				{ buf + 100001, BIG - 100001 } };
	CHECK_EQ(writev(*(int *)arg, iov, 3), BIG);
	free(buf);
	CHECK_EQ(close(*(int *)arg), 0);
	return NULL;
}

static void *writes_records(void *arg)
{
	char rec[64];

	memset(rec, 'a' + (int)((long)arg >> 16), sizeof(rec));
	for (int i = 0; i < 500; i++)
		CHECK_EQ(write((int)((long)arg & 0xffff), rec, sizeof(rec)), sizeof(rec));
	return NULL;
}

static void *reads_one(void *arg)
{
	char c = 0;
	ssize_t n = read(*(int *)arg, &c, 1);

	return (void *)(n == 1 ? (long)c : n);
}

static void *fills(void *arg)
{
	char buf[4096] = { 0 };
	ssize_t n;

	while ((n = write(*(int *)arg, buf, sizeof(buf))) > 0)
		;
	return (void *)(long)errno;
}

static void check_pingpong(void)
{
	struct two a, b;
	int p[2], q[2];
	pthread_t t;
	long v = 0;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe2(q, O_CLOEXEC), 0);
	a = (struct two){ q[0], p[1] };
	b = (struct two){ p[0], q[1] };
	t = prog_start(echoes, &b);
	for (long i = 0; i < 5000; i++) {
		CHECK_EQ(write(a.out, &v, sizeof(v)), sizeof(v));
		read_all(a.in, &v, sizeof(v));
		CHECK_EQ(v, i + 1);
	}
	close(a.out);
	CHECK_EQ(read(a.in, &v, sizeof(v)), 0);		/* EOF: the thread closed its end */
	prog_join(t);
	close(a.in);
	close(b.in);
	puts("pingpong ok");
}

static void check_big(void)
{
	unsigned char *buf = malloc(BIG);
	int p[2], left;
	pthread_t t;

	CHECK_EQ(pipe(p), 0);
	t = prog_start(writes_big, &p[1]);
	for (int round = 0; round < 2; round++) {
		read_all(p[0], buf, BIG / 2);
		struct iovec iov[2] = { { buf + BIG / 2, 10 }, { buf + BIG / 2 + 10, 90 } };
		CHECK(readv(p[0], iov, 2) == 100);
		read_all(p[0], buf + BIG / 2 + 100, BIG / 2 - 100);
		for (size_t i = 0; i < BIG; i++)
			CHECK_EQ(buf[i], (unsigned char)(i * 7 + i / 4096));
	}
	CHECK_EQ(read(p[0], buf, BIG), 0);
	CHECK_EQ(ioctl(p[0], FIONREAD, &left), 0);
	CHECK_EQ(left, 0);
	prog_join(t);
	close(p[0]);
	free(buf);
	puts("big ok");
}

static void check_records(void)
{
	int p[2], counts[4] = { 0 };
	pthread_t ts[4];
	char rec[64];

	CHECK_EQ(pipe(p), 0);
	for (long i = 0; i < 4; i++)
		ts[i] = prog_start(writes_records, (void *)(i << 16 | p[1]));
	for (int i = 0; i < 2000; i++) {
		read_all(p[0], rec, sizeof(rec));
		for (size_t j = 1; j < sizeof(rec); j++)
			CHECK_EQ(rec[j], rec[0]);	/* writes up to PIPE_BUF are atomic */
		counts[rec[0] - 'a']++;
	}
	for (int i = 0; i < 4; i++) {
		prog_join(ts[i]);
		CHECK_EQ(counts[i], 500);
	}
	close(p[0]);
	close(p[1]);
	puts("records ok");
}

static void check_ends(void)
{
	pthread_t ts[5], t;
	long sum = 0;
	int p[2];

	CHECK_EQ(pipe(p), 0);
	for (int i = 0; i < 5; i++)
		ts[i] = prog_start(reads_one, &p[0]);
	prog_nap_ms(2);
	CHECK_EQ(write(p[1], "\1\2\4", 3), 3);
	close(p[1]);
	for (int i = 0; i < 5; i++)
		sum += (long)prog_join(ts[i]);
	CHECK_EQ(sum, 7);		/* three got a byte each, two saw EOF */
	close(p[0]);

	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(pipe(p), 0);
	t = prog_start(fills, &p[1]);
	prog_nap_ms(2);
	close(p[0]);			/* wakes the blocked writer */
	CHECK_EQ((long)prog_join(t), EPIPE);
	CHECK_FAILS(write(p[1], "x", 1), EPIPE);
	close(p[1]);
	puts("ends ok");
}

static void check_nonblock(void)
{
	void *volatile bad = (void *)8;		/* volatile: not for the compiler to see */
	int p[2], on = 1;
	char c;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(fcntl(p[0], F_GETFL), O_RDONLY);
	CHECK_EQ(fcntl(p[1], F_GETFL), O_WRONLY);
	CHECK_EQ(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(fcntl(p[0], F_GETFL), O_RDONLY | O_NONBLOCK);
	CHECK_FAILS(read(p[0], &c, 1), EAGAIN);
	CHECK_EQ(ioctl(p[1], FIONBIO, &on), 0);
	CHECK_EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_NONBLOCK);
	CHECK_EQ((long)fills(&p[1]), EAGAIN);
	CHECK_EQ(read(p[0], &c, 1), 1);
	close(p[1]);
	close(p[0]);
	CHECK_EQ(pipe2(p, O_NONBLOCK), 0);
	CHECK_FAILS(read(p[0], &c, 1), EAGAIN);
	CHECK_EQ(fcntl(p[0], F_SETFL, 0), 0);
	pthread_t t = prog_start(reads_one, &p[0]);	/* blocks again */
	prog_nap_ms(2);
	CHECK_EQ(write(p[1], "z", 1), 1);
	CHECK_EQ((long)prog_join(t), 'z');
	CHECK_EQ(fcntl(p[0], F_GETFL), O_RDONLY);
	close(p[0]);
	close(p[1]);
	CHECK_FAILS(read(p[0], &c, 1), EBADF);
	CHECK_FAILS(write(p[1], &c, 1), EBADF);
	CHECK_EQ(pipe(p), 0);
	CHECK_FAILS(read(p[1], &c, 1), EBADF);		/* wrong end */
	CHECK_EQ(write(p[1], "q", 1), 1);
	CHECK_FAILS(read(p[0], bad, 1), EFAULT);
	close(p[0]);
	close(p[1]);
	puts("nonblock ok");
}

static void *all(void *arg)
{
	(void)arg;
	check_pingpong();
	check_big();
	check_records();
	check_ends();
	check_nonblock();
	return NULL;
}

int main(void)
{
	prog_init();
	all(NULL);
	prog_join(prog_start(all, NULL));
	return 0;
}
