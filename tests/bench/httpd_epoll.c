/* SPDX-License-Identifier: MIT */
/*
 * The limit for httpd.c: the same answers from hand-written event loops, one epoll set for each of GOMAXPROCS (2)
 * threads. Same output.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

static void *loop(void *arg)
{
	int ep = (int)(long)arg;
	struct epoll_event ev[256];
	char buf[2048];

	for (;;) {
		int n = epoll_wait(ep, ev, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd;
			ssize_t got = read(fd, buf, sizeof(buf));

			if (got <= 0 || write(fd, answer, sizeof(answer) - 1) != sizeof(answer) - 1)
				close(fd);
		}
	}
	return NULL;
}

static int eps[64], neps;

static void *accepts(void *arg)
{
	int l = (int)(long)arg, one = 1, fd;

	for (unsigned i = 0; (fd = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		epoll_ctl(eps[i % (unsigned)neps], EPOLL_CTL_ADD, fd, &ev);
	}
	perror("accept");
	exit(1);
}

int main(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	const char *procs = getenv("GOMAXPROCS");
	struct rusage ru;
	pthread_t t;
	char c;
	int l;

	signal(SIGPIPE, SIG_IGN);
	neps = procs != NULL ? atoi(procs) : 2;
	if (neps < 1 || neps > 64)
		return 2;
	l = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(l, 8192) != 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) != 0) {
		perror("listen");
		return 1;
	}
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (int i = 0; i < neps; i++) {
		eps[i] = epoll_create1(0);
		pthread_create(&t, NULL, loop, (void *)(long)eps[i]);
	}
	pthread_create(&t, NULL, accepts, (void *)(long)l);
	while (read(0, &c, 1) > 0)
		;
	getrusage(RUSAGE_SELF, &ru);
	printf("cpu %.6f maxrss %ld served 0\n",
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6,
	       ru.ru_maxrss);
	return 0;
}
