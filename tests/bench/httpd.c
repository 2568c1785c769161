/* SPDX-License-Identifier: MIT */
/*
 * The smallest HTTP server with a thread per connection: accept, read until the empty line, write a fixed answer. It
 * prints its port, serves until its standard input ends, then prints how often it answered and its CPU seconds.
 *
 *	httpd [poll]	poll: wait with poll() before each read, as many servers do
 */
#include <errno.h>
#include <poll.h>

#include "httpd.h"

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
	pthread_t t;

	use_poll = argc > 1 && strcmp(argv[1], "poll") == 0;
	if (pthread_create(&t, NULL, accepts, (void *)(long)httpd_listen()) != 0)
		return 1;
	httpd_report(&served);
	return 0;
}
