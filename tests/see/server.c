// SPDX-License-Identifier: MIT
/* A server with a thread per connection, for the test of gmprun compare: answers "HTTP/1.1 200" to each request. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

static void *serve(void *arg)
{
	int fd = (int)(long)arg;
	char buf[2048];
	size_t have = 0;

	for (;;) {
		ssize_t n = read(fd, buf + have, sizeof(buf) - 1 - have);
		char *end;

		if (n <= 0)
			break;
		have += (size_t)n;
		buf[have] = '\0';
		while ((end = strstr(buf, "\r\n\r\n")) != NULL) {
			if (write(fd, answer, sizeof(answer) - 1) < 0)
				break;
			have -= (size_t)(end + 4 - buf);
			memmove(buf, end + 4, have + 1);
		}
		if (have == sizeof(buf) - 1)
			break;
	}
	close(fd);
	return NULL;
}

int main(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1024) < 0)
		return 1;
	for (;;) {
		pthread_t th;
		int fd = accept(s, NULL, NULL);

		if (fd >= 0 && pthread_create(&th, &attr, serve, (void *)(long)fd) != 0)
			close(fd);
	}
}
