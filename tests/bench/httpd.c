/* SPDX-License-Identifier: MIT */
/*
 * The smallest HTTP server with a thread per connection: accept, read until the empty line, write a fixed answer. It
 * prints its port, serves until its standard input ends, then prints how often it answered and its CPU seconds.
 *
 *	httpd [poll]	poll: wait with poll() before each read, as many servers do
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";
static int use_poll;
static unsigned long served;

static void *serve(void *arg)
{
	int fd = (int)(long)arg;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[2048];
	size_t have = 0;
	unsigned long n = 0;

	for (;;) {
		ssize_t got;

		if (use_poll && poll(&p, 1, -1) != 1)
			break;
		got = read(fd, buf + have, sizeof(buf) - have);
		if (got <= 0)
			break;
		have += (size_t)got;
		if (have >= 4 && memcmp(buf + have - 4, "\r\n\r\n", 4) == 0) {
			have = 0;
			n++;
			if (write(fd, answer, sizeof(answer) - 1) != sizeof(answer) - 1)
				break;
		} else if (have == sizeof(buf)) {
			break;
		}
	}
	close(fd);
	__atomic_add_fetch(&served, n, __ATOMIC_RELAXED);
	return NULL;
}

static void *accepts(void *arg)
{
	int l = (int)(long)arg, one = 1;
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0) {
			if (errno == EMFILE || errno == ECONNABORTED)
				continue;
			perror("accept");
			exit(1);
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&t, &attr, serve, (void *)(long)fd) != 0)
			close(fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct rusage ru;
	pthread_t t;
	char c;
	int l;

	use_poll = argc > 1 && strcmp(argv[1], "poll") == 0;
	signal(SIGPIPE, SIG_IGN);
	l = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(l, 8192) != 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) != 0) {
		perror("listen");
		return 1;
	}
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	if (pthread_create(&t, NULL, accepts, (void *)(long)l) != 0)
		return 1;
	while (read(0, &c, 1) > 0)
		;
	getrusage(RUSAGE_SELF, &ru);
	printf("cpu %.6f maxrss %ld served %lu\n",
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6,
	       ru.ru_maxrss, __atomic_load_n(&served, __ATOMIC_RELAXED));
	return 0;
}
