/* SPDX-License-Identifier: MIT */
/*
 * The limit for httpd.c: the same answers from hand-written event loops, one epoll set for each of GOMAXPROCS (2)
 * threads. Same output.
 */
#include <sys/epoll.h>

#include "httpd.h"

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
	const char *procs = getenv("GOMAXPROCS");
	pthread_t t;

	neps = procs != NULL ? atoi(procs) : 2;
	if (neps < 1 || neps > 64)
		return 2;
	for (int i = 0; i < neps; i++) {
		eps[i] = epoll_create1(0);
		pthread_create(&t, NULL, loop, (void *)(long)eps[i]);
	}
	pthread_create(&t, NULL, accepts, (void *)(long)httpd_listen());
	httpd_report(NULL);
	return 0;
}
