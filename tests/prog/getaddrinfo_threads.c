/* SPDX-License-Identifier: MIT */
/*
 * Name resolution in many threads: numeric, "localhost", services, errors; h_errno is the thread's
 * own.
 */
#include "prog.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>

static void *resolves(void *arg)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *res;
	char host[64], serv[16], buf[4096];
	struct passwd pw, *found;
	int mine = (int)(long)arg, err;

	for (int i = 0; i < 20; i++) {
		hints.ai_flags = AI_NUMERICHOST;
		CHECK_EQ(getaddrinfo("127.0.0.1", "80", &hints, &res), 0);
		CHECK_EQ(((struct sockaddr_in *)res->ai_addr)->sin_addr.s_addr,
			 htonl(INADDR_LOOPBACK));
		CHECK_EQ(((struct sockaddr_in *)res->ai_addr)->sin_port, htons(80));
		CHECK_EQ(getnameinfo(res->ai_addr, res->ai_addrlen, host, sizeof(host), serv,
				     sizeof(serv), NI_NUMERICHOST | NI_NUMERICSERV),
			 0);
		CHECK(!strcmp(host, "127.0.0.1") && !strcmp(serv, "80"));
		freeaddrinfo(res);
		CHECK_EQ(getaddrinfo("not a number", "80", &hints, &res), EAI_NONAME);
		hints.ai_flags = 0;
		err = getaddrinfo("localhost", NULL, &hints, &res);
		CHECK_EQ(err, 0);
		CHECK_EQ(((struct sockaddr_in *)res->ai_addr)->sin_addr.s_addr,
			 htonl(INADDR_LOOPBACK));
		freeaddrinfo(res);
		h_errno = mine;
		sched_yield();
		CHECK_EQ(h_errno, mine);
		CHECK_EQ(getpwuid_r(0, &pw, buf, sizeof(buf), &found), 0);
		CHECK(found && !strcmp(found->pw_name, "root"));
	}
	return NULL;
}

int main(void)
{
	pthread_t ts[20];

	prog_init();
	for (long i = 0; i < 20; i++)
		ts[i] = prog_start(resolves, (void *)(i + 100));
	for (int i = 0; i < 20; i++)
		prog_join(ts[i]);
	resolves((void *)200L);
	puts("ok");
	return 0;
}
