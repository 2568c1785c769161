/* SPDX-License-Identifier: MIT */
/* What the HTTP servers have in common: the answer, the listening socket, and what they print. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

/* On loopback, at any port, which is printed. */
static int httpd_listen(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(l, 8192) != 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) != 0) {
		perror("listen");
		exit(1);
	}
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return l;
}

/* Until standard input ends; then what it has cost, and how often the server answered, if it counts that. */
static void httpd_report(const unsigned long *served)
{
	struct rusage ru;
	char c;

	while (read(0, &c, 1) > 0)
		;
	getrusage(RUSAGE_SELF, &ru);
	printf("cpu %.6f maxrss %ld served %lu\n",
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6,
	       ru.ru_maxrss, served != NULL ? __atomic_load_n(served, __ATOMIC_RELAXED) : 0);
}
