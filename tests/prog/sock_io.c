/* SPDX-License-Identifier: MIT */
/*
 * Sockets: stream, datagram and TCP loopback, the send and recv families with their flags, socket
 * timeouts, shutdown waking a reader, refused connections, shared accept, 200 connections.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>

#define CLIENTS	200

static int listen_on(struct sockaddr_in *addr, int backlog)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	*addr = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK_EQ(bind(fd, (struct sockaddr *)addr, sizeof(*addr)), 0);
	CHECK_EQ(listen(fd, backlog), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)addr, &len), 0);
	return fd;
}

static int connect_to(const struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK_EQ(connect(fd, (const struct sockaddr *)addr, sizeof(*addr)), 0);
	return fd;
}

static void *drips(void *arg)
{
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(send(*(int *)arg, "0123456789", 10, 0), 10);
		if (i % 10 == 0)
			sched_yield();
	}
	return NULL;
}

static void *sends_fd(void *arg)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov[2] = { { "ab", 2 }, { "cde", 3 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int p[2];

	CHECK_EQ(pipe(p), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &p[0], sizeof(int));
	CHECK_EQ(sendmsg(*(int *)arg, &msg, 0), 5);
	close(p[0]);
	CHECK_EQ(write(p[1], "via fd", 6), 6);
	close(p[1]);
	return NULL;
}

static void check_pair(void)
{
	char control[CMSG_SPACE(sizeof(int))], a[3], b[10], buf[1000];
	struct iovec iov[2] = { { a, 3 }, { b, 10 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int s[2], fd;
	pthread_t t;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	CHECK_FAILS(recv(s[0], buf, 1, MSG_DONTWAIT), EAGAIN);
	t = prog_start(drips, &s[1]);
	CHECK_EQ(recv(s[0], buf, 1, MSG_PEEK), 1);
	CHECK_EQ(buf[0], '0');
	CHECK_EQ(recv(s[0], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], '0' + (int)(i % 10));
	prog_join(t);
	t = prog_start(sends_fd, &s[1]);
	CHECK_EQ(recvmsg(s[0], &msg, MSG_CMSG_CLOEXEC), 5);
	prog_join(t);
	CHECK(!memcmp(a, "abc", 3) && !memcmp(b, "de", 2));
	CHECK(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	CHECK_EQ(read(fd, buf, sizeof(buf)), 6);
	CHECK(!memcmp(buf, "via fd", 6));
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
	close(fd);
	close(s[1]);
	CHECK_EQ(recv(s[0], buf, 1, 0), 0);
	CHECK_FAILS(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close(s[0]);
	puts("pair ok");
}

static void *echoes_datagrams(void *arg)
{
	struct sockaddr_in from;
	socklen_t len;
	char buf[100];
	ssize_t n;

	for (;;) {
		len = sizeof(from);
		n = recvfrom(*(int *)arg, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
		CHECK(n >= 0);
		CHECK_EQ(sendto(*(int *)arg, buf, (size_t)n, 0, (struct sockaddr *)&from, len), n);
		if (n == 0)
			return NULL;
	}
}

static void check_datagrams(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0), s[2];
	socklen_t len = sizeof(addr);
	char buf[100];
	pthread_t t;

	CHECK_EQ(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	CHECK_EQ(getsockname(server, (struct sockaddr *)&addr, &len), 0);
	t = prog_start(echoes_datagrams, &server);
	CHECK_EQ(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
	for (int i = 0; i < 100; i++) {
		int n = snprintf(buf, sizeof(buf), "datagram %d", i);

		CHECK_EQ(send(client, buf, (size_t)n, 0), n);
		CHECK_EQ(recv(client, buf, 4, MSG_TRUNC), n);	/* the true length */
	}
	CHECK_EQ(send(client, buf, 0, 0), 0);
	CHECK_EQ(recv(client, buf, sizeof(buf), 0), 0);		/* an empty datagram is no EOF */
	prog_join(t);
	close(client);
	close(server);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	CHECK_EQ(send(s[0], "one", 3, 0), 3);
	CHECK_EQ(send(s[0], "three", 5, 0), 5);
	CHECK_EQ(recv(s[1], buf, sizeof(buf), 0), 3);
	CHECK_EQ(recv(s[1], buf, sizeof(buf), 0), 5);
	close(s[0]);
	close(s[1]);
	puts("datagrams ok");
}

/* The calls on sockets with a timeout fail with EAGAIN, not before their time. */
static void *check_timeouts(void *arg)
{
	struct timeval tv = { .tv_usec = 40000 }, got;
	socklen_t len = sizeof(got);
	struct sockaddr_in addr;
	int s[2], l;
	char buf[65536] = { 0 };
	int64_t before;

	(void)arg;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &got, &len), 0);
	CHECK_EQ(got.tv_usec, 40000);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(recv(s[0], buf, 1, 0), EAGAIN);
	/* kernel ticks: up to 4 ms less */
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 36000000);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(read(s[0], buf, 1), EAGAIN);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 36000000);
	while (send(s[0], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	CHECK_EQ(errno, EAGAIN);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(send(s[0], buf, sizeof(buf), 0), EAGAIN);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 36000000);
	CHECK_EQ(send(s[1], "in time", 7, 0), 7);
	CHECK_EQ(recv(s[0], buf, sizeof(buf), 0), 7);
	close(s[0]);
	close(s[1]);
	l = listen_on(&addr, 5);
	CHECK_EQ(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(accept(l, NULL, NULL), EAGAIN);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 36000000);
	close(l);
	return NULL;
}

static void *reads_eof(void *arg)
{
	char c;

	return (void *)(long)read(*(int *)arg, &c, 1);
}

static void *accepts(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);

	if (fd < 0)
		return (void *)(long)-errno;
	CHECK_EQ(write(fd, "hello", 5), 5);
	close(fd);
	return NULL;
}

static void check_tcp(void)
{
	struct sockaddr_in addr, peer;
	socklen_t len = sizeof(peer);
	pthread_t ts[4], t;
	int l, c, a, err, one = 1;
	char buf[16];

	l = listen_on(&addr, 16);
	t = prog_start(accepts, &l);
	c = connect_to(&addr);
	CHECK_EQ(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	CHECK_EQ(recv(c, buf, sizeof(buf), MSG_WAITALL), 5);	/* EOF ends the wait */
	CHECK_EQ(recv(c, buf, sizeof(buf), 0), 0);
	prog_join(t);
	close(c);

	for (int i = 0; i < 4; i++)	/* all in accept on one listener */
		ts[i] = prog_start(accepts, &l);
	for (int i = 0; i < 4; i++) {
		c = connect_to(&addr);
		CHECK_EQ(recv(c, buf, sizeof(buf), MSG_WAITALL), 5);
		close(c);
	}
	for (int i = 0; i < 4; i++)
		CHECK(prog_join(ts[i]) == NULL);

	c = connect_to(&addr);
	a = accept4(l, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(a >= 0);
	CHECK_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	CHECK(fcntl(a, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(a, F_GETFD) & FD_CLOEXEC);
	CHECK(!(fcntl(c, F_GETFL) & O_NONBLOCK));
	CHECK_FAILS(recv(a, buf, 1, 0), EAGAIN);
	t = prog_start(reads_eof, &c);
	prog_nap_ms(2);
	CHECK_EQ(shutdown(c, SHUT_RD), 0);		/* wakes the reader with EOF */
	CHECK_EQ((long)prog_join(t), 0);
	close(c);
	close(a);

	t = prog_start(accepts, &l);
	prog_nap_ms(5);
	CHECK_EQ(shutdown(l, SHUT_RDWR), 0);		/* wakes accept with EINVAL */
	CHECK_EQ((long)prog_join(t), -EINVAL);
	close(l);

	c = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_FAILS(connect(c, (struct sockaddr *)&addr, sizeof(addr)), ECONNREFUSED);
	close(c);
	c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	l = listen_on(&addr, 4);
	err = connect(c, (struct sockaddr *)&addr, sizeof(addr));
	CHECK(err == 0 || errno == EINPROGRESS);
	close(c);
	close(l);
	puts("tcp ok");
}

static void *serves_one(void *arg)
{
	int fd = (int)(long)arg;
	char buf[256];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		CHECK_EQ(send(fd, buf, (size_t)n, MSG_NOSIGNAL), n);
	CHECK_EQ(n, 0);
	close(fd);
	return NULL;
}

static void *server(void *arg)
{
	static pthread_t ts[CLIENTS];

	for (int i = 0; i < CLIENTS; i++) {
		int fd = accept4(*(int *)arg, NULL, NULL, SOCK_CLOEXEC);

		CHECK(fd >= 0);
		ts[i] = prog_start(serves_one, (void *)(long)fd);
	}
	for (int i = 0; i < CLIENTS; i++)
		prog_join(ts[i]);
	return NULL;
}

static void *client(void *arg)
{
	int fd = connect_to(arg);
	char out[128], in[128];

	for (int i = 0; i < 20; i++) {
		memset(out, i + fd, sizeof(out));
		CHECK_EQ(send(fd, out, sizeof(out), 0), sizeof(out));
		CHECK_EQ(recv(fd, in, sizeof(in), MSG_WAITALL), sizeof(in));
		CHECK(!memcmp(in, out, sizeof(in)));
	}
	close(fd);
	return NULL;
}

int main(void)
{
	static pthread_t ts[CLIENTS];
	struct sockaddr_in addr;
	pthread_t t;
	int l;

	prog_init();
	signal(SIGPIPE, SIG_IGN);
	check_pair();
	check_datagrams();
	check_timeouts(NULL);
	prog_join(prog_start(check_timeouts, NULL));
	puts("timeouts ok");
	check_tcp();
	l = listen_on(&addr, CLIENTS);
	t = prog_start(server, &l);
	for (int i = 0; i < CLIENTS; i++)
		ts[i] = prog_start(client, &addr);
	for (int i = 0; i < CLIENTS; i++)
		prog_join(ts[i]);
	prog_join(t);
	close(l);
	puts("200 connections ok");
	return 0;
}
