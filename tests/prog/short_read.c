/* SPDX-License-Identifier: MIT */
/*
 * After a read that came short the next one may wait without asking the kernel only where that is right. Each case here
 * reads something short and then expects more, or the end, that is there already: whoever waits for a further event
 * hangs.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static void tcp_pair(int sv[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	CHECK(l >= 0);
	CHECK_EQ(bind(l, (struct sockaddr *)&a, len), 0);
	CHECK_EQ(listen(l, 1), 0);
	CHECK_EQ(getsockname(l, (struct sockaddr *)&a, &len), 0);
	sv[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(sv[0] >= 0);
	CHECK_EQ(connect(sv[0], (struct sockaddr *)&a, sizeof(a)), 0);
	sv[1] = accept(l, NULL, NULL);
	CHECK(sv[1] >= 0);
	setsockopt(sv[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(l);
}

/* Make sure that the reader has waited on fd once: only then it is known to the netpoller. */
struct first {
	int fd, want;
};

static void *reads_one(void *arg)
{
	struct first *f = arg;
	char buf[100];

	CHECK_EQ(read(f->fd, buf, sizeof(buf)), f->want);
	return NULL;
}

static void wait_once(int rd, int wr)
{
	struct first f = {rd, 5};
	pthread_t t = prog_start(reads_one, &f);

	prog_nap_ms(20);
	CHECK_EQ(write(wr, "hello", 5), 5);
	prog_join(t);
}

/* 1: data and the end of the stream in one event */
static void data_and_fin(int sv[2])
{
	char buf[100];

	wait_once(sv[1], sv[0]);
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	close(sv[0]);
	prog_nap_ms(20);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 3);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 0);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 0);
	close(sv[1]);
}

/* 2: an urgent mark ends a read early */
static void urgent(void)
{
	int sv[2], on = 1;
	char buf[100];

	tcp_pair(sv);
	wait_once(sv[1], sv[0]);
	CHECK_EQ(send(sv[0], "abc", 3, MSG_OOB), 3); /* c is urgent */
	CHECK_EQ(send(sv[0], "def", 3, 0), 3);
	prog_nap_ms(20);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 2);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 3);
	/* and with the mark read first */
	CHECK_EQ(send(sv[0], "abc", 3, MSG_OOB), 3);
	CHECK_EQ(send(sv[0], "def", 3, 0), 3);
	prog_nap_ms(20);
	CHECK_EQ(recv(sv[1], buf, 1, MSG_OOB), 1);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 2);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 3);
	CHECK_EQ(setsockopt(sv[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)), 0);
	CHECK_EQ(send(sv[0], "abc", 3, MSG_OOB), 3);
	CHECK_EQ(send(sv[0], "def", 3, 0), 3);
	prog_nap_ms(20);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 2);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 4);
	close(sv[0]);
	close(sv[1]);
}

/* 3: descriptors end a message on a unix stream */
static void passes_fd(void)
{
	int sv[2];
	char buf[100], ctl[CMSG_SPACE(sizeof(int))] = "", in[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {"xy", 2}, iovin = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl)};
	struct msghdr min = {.msg_iov = &iovin, .msg_iovlen = 1, .msg_control = in, .msg_controllen = sizeof(in)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	wait_once(sv[1], sv[0]);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &sv[0], sizeof(int));
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	CHECK_EQ(sendmsg(sv[0], &m, 0), 2);
	CHECK_EQ(write(sv[0], "def", 3), 3);
	CHECK_EQ(recvmsg(sv[1], &min, 0), 5);
	close(*(int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&min)));
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 3);
	close(sv[0]);
	close(sv[1]);
}

/* 4: datagrams, 5: records */
static void datagrams(int type)
{
	int sv[2];
	char buf[100];

	CHECK_EQ(socketpair(AF_UNIX, type, 0, sv), 0);
	wait_once(sv[1], sv[0]);
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	CHECK_EQ(write(sv[0], "de", 2), 2);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 3);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 2);
	close(sv[0]);
	close(sv[1]);
}

/* 6: packets in a pipe, also when the mode comes later */
static void packets(int later)
{
	int p[2];
	char buf[100];

	CHECK_EQ(pipe2(p, later ? 0 : O_DIRECT), 0);
	wait_once(p[0], p[1]);
	if (later)
		CHECK_EQ(fcntl(p[1], F_SETFL, O_DIRECT), 0);
	CHECK_EQ(write(p[1], "abc", 3), 3);
	CHECK_EQ(write(p[1], "de", 2), 2);
	CHECK_EQ(read(p[0], buf, sizeof(buf)), 3);
	CHECK_EQ(read(p[0], buf, sizeof(buf)), 2);
	close(p[0]);
	close(p[1]);
}

/* 7: poll says so, too, and a descriptor that does not block asks the kernel */
static void polls(int sv[2])
{
	struct pollfd *p = malloc(sizeof(*p)), here = {.fd = sv[1], .events = POLLIN};
	char buf[100];

	wait_once(sv[1], sv[0]);
	*p = here;
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	CHECK_EQ(poll(p, 1, 5000), 1);
	CHECK_EQ(p->revents, POLLIN);
	CHECK_EQ(read(sv[1], buf, 2), 2);
	CHECK_EQ(poll(&here, 1, 5000), 1);
	CHECK_EQ(here.revents, POLLIN);
	CHECK_EQ(read(sv[1], buf, 2), 1);
	CHECK_EQ(poll(&here, 1, 0), 0);
	CHECK_EQ(poll(&here, 1, 10), 0);
	CHECK_EQ(poll(p, 1, 10), 0);
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	CHECK_EQ(poll(&here, 1, -1), 1);
	CHECK_EQ(read(sv[1], buf, 10), 3);
	CHECK_EQ(fcntl(sv[1], F_SETFL, O_NONBLOCK), 0);
	CHECK_FAILS(read(sv[1], buf, 10), EAGAIN);
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	CHECK_EQ(read(sv[1], buf, 10), 3);
	CHECK_EQ(fcntl(sv[1], F_SETFL, 0), 0);
	CHECK_EQ(write(sv[0], "abc", 3), 3);
	close(sv[0]);
	here.events = POLLIN | POLLRDHUP;
	CHECK_EQ(poll(&here, 1, -1), 1);
	CHECK(here.revents & POLLIN);
	CHECK_EQ(read(sv[1], buf, 10), 3);
	CHECK_EQ(poll(&here, 1, -1), 1);
	CHECK(here.revents & (POLLIN | POLLHUP));
	CHECK_EQ(read(sv[1], buf, 10), 0);
	close(sv[1]);
	free(p);
}

/* What it is for: an echo, short reads only. */
static void *echoes(void *arg)
{
	int fd = *(int *)arg;
	char buf[100];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		CHECK_EQ(write(fd, buf, (size_t)n), n);
	return NULL;
}

static void *cases(void *arg)
{
	int sv[2];
	char buf[100];
	pthread_t t;

	tcp_pair(sv);
	t = prog_start(echoes, &sv[1]);
	for (int i = 0; i < 500; i++) {
		CHECK_EQ(write(sv[0], "abcdefghijk", 1 + i % 10), 1 + i % 10);
		CHECK_EQ(read(sv[0], buf, sizeof(buf)), 1 + i % 10);
	}
	shutdown(sv[0], SHUT_WR);
	prog_join(t);
	close(sv[0]);
	close(sv[1]);
	for (int i = 0; i < 3; i++) {
		tcp_pair(sv);
		data_and_fin(sv);
		CHECK_EQ(pipe(sv), 0);
		sv[0] ^= sv[1], sv[1] ^= sv[0], sv[0] ^= sv[1];
		data_and_fin(sv);
		tcp_pair(sv);
		polls(sv);
		CHECK_EQ(pipe(sv), 0);
		sv[0] ^= sv[1], sv[1] ^= sv[0], sv[0] ^= sv[1];
		polls(sv);
	}
	passes_fd();
	datagrams(SOCK_DGRAM);
	datagrams(SOCK_SEQPACKET);
	packets(0);
	packets(1);
	urgent();
	return arg;
}

int main(void)
{
	prog_init();
	alarm(200);
	prog_join(prog_start(cases, NULL));
	puts("ok");
	return 0;
}
