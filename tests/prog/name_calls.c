/* SPDX-License-Identifier: MIT */
/* Look-ups of names: users, groups, services, protocols, hosts of /etc/hosts. A native run must print the same. */
#include "prog.h"

#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <resolv.h>

static char buf[4096];

static void host(const char *what, const struct hostent *h)
{
	char text[64] = "none";

	if (h && h->h_addr_list[0])
		inet_ntop(h->h_addrtype, h->h_addr_list[0], text, sizeof(text));
	printf("%s: %s %s %d\n", what, h ? h->h_name : "NULL", text, h ? 0 : h_errno);
}

static void hosts(void)
{
	struct hostent h, *r;
	struct in_addr a = { htonl(INADDR_LOOPBACK) };
	int err = 0, rc;

	host("gethostbyname", gethostbyname("localhost"));
	host("gethostbyname2", gethostbyname2("127.0.0.1", AF_INET));
	host("gethostbyaddr", gethostbyaddr(&a, sizeof(a), AF_INET));
	rc = gethostbyname_r("localhost", &h, buf, sizeof(buf), &r, &err);
	printf("%d %s %d\n", rc, r ? r->h_name : "NULL", err);
	rc = gethostbyname2_r("localhost", AF_INET, &h, buf, sizeof(buf), &r, &err);
	printf("%d %s\n", rc, r ? r->h_name : "NULL");
	rc = gethostbyname_r("localhost", &h, buf, 1, &r, &err);
	printf("%d %d\n", rc, r == NULL);
	rc = gethostbyaddr_r(&a, sizeof(a), AF_INET, &h, buf, sizeof(buf), &r, &err);
	printf("%d %s\n", rc, r ? r->h_name : "NULL");
}

static void services(void)
{
	struct servent s, *r = getservbyname("http", "tcp");
	struct protoent p, *q = getprotobyname("udp");
	int rc;

	printf("%s %d\n", r ? r->s_name : "NULL", r ? ntohs(r->s_port) : 0);
	r = getservbyport(htons(22), "tcp");
	printf("%s\n", r ? r->s_name : "NULL");
	rc = getservbyname_r("ssh", "tcp", &s, buf, sizeof(buf), &r);
	printf("%d %s\n", rc, r ? r->s_name : "NULL");
	rc = getservbyport_r(htons(80), "tcp", &s, buf, sizeof(buf), &r);
	printf("%d %s\n", rc, r ? r->s_name : "NULL");
	rc = getservbyport_r(htons(80), "tcp", &s, buf, 1, &r);
	printf("%d %d\n", rc, r == NULL);
	r = getservent();
	printf("%s\n", r ? r->s_name : "NULL");
	rc = getservent_r(&s, buf, sizeof(buf), &r);
	printf("%d %s\n", rc, r ? r->s_name : "NULL");
	endservent();
	printf("%s %d\n", q ? q->p_name : "NULL", q ? q->p_proto : 0);
	q = getprotobynumber(6);
	printf("%s\n", q ? q->p_name : "NULL");
	q = getprotoent();
	printf("%s\n", q ? q->p_name : "NULL");
	rc = getprotoent_r(&p, buf, sizeof(buf), &q);
	printf("%d %s\n", rc, q ? q->p_name : "NULL");
	endprotoent();
	rc = getprotobyname_r("icmp", &p, buf, sizeof(buf), &q);
	printf("%d %s\n", rc, q ? q->p_name : "NULL");
	rc = getprotobynumber_r(17, &p, buf, sizeof(buf), &q);
	printf("%d %s\n", rc, q ? q->p_name : "NULL");
}

static void users(void)
{
	struct passwd pw, *u = getpwnam("root");
	struct group gr, *g = getgrnam("root");
	gid_t gids[64];
	int rc, n = 64;

	printf("%s %d\n", u ? u->pw_name : "NULL", u ? (int)u->pw_uid : -1);
	u = getpwuid(0);
	printf("%s\n", u ? u->pw_name : "NULL");
	rc = getpwnam_r("root", &pw, buf, sizeof(buf), &u);
	printf("%d %s\n", rc, u ? u->pw_dir : "NULL");
	rc = getpwnam_r("no such user", &pw, buf, sizeof(buf), &u);
	printf("%d %d\n", rc, u == NULL);
	rc = getpwuid_r(0, &pw, buf, 1, &u);
	printf("%d\n", rc);
	setpwent();
	u = getpwent();
	printf("%s\n", u ? u->pw_name : "NULL");
	rc = getpwent_r(&pw, buf, sizeof(buf), &u);
	printf("%d %s\n", rc, u ? u->pw_name : "NULL");
	endpwent();
	printf("%s\n", g ? g->gr_name : "NULL");
	g = getgrgid(0);
	printf("%s\n", g ? g->gr_name : "NULL");
	rc = getgrnam_r("root", &gr, buf, sizeof(buf), &g);
	printf("%d %s\n", rc, g ? g->gr_name : "NULL");
	rc = getgrgid_r(0, &gr, buf, sizeof(buf), &g);
	printf("%d %s\n", rc, g ? g->gr_name : "NULL");
	setgrent();
	g = getgrent();
	printf("%s\n", g ? g->gr_name : "NULL");
	rc = getgrent_r(&gr, buf, sizeof(buf), &g);
	printf("%d %s\n", rc, g ? g->gr_name : "NULL");
	endgrent();
	rc = getgrouplist("root", 0, gids, &n);
	printf("%d %d\n", rc, n);
	errno = 0;
	printf("%d %d\n", getlogin() == NULL, errno);
	printf("%d\n", getlogin_r(buf, 1));
}

/* Names too long for a question: refused before anything is sent. */
static void resolver(void)
{
	struct __res_state st;
	struct gaicb ask = { .ar_name = "127.0.0.1" }, *list[1] = { &ask };
	static char name[400];
	unsigned char answer[64];

	memset(name, 'a', sizeof(name) - 1);
	memset(&st, 0, sizeof(st));
	CHECK_EQ(res_ninit(&st), 0);
	printf("%d\n", res_query(name, C_IN, T_A, answer, sizeof(answer)));
	printf("%d\n", res_search(name, C_IN, T_A, answer, sizeof(answer)));
	printf("%d\n", res_nquery(&st, name, C_IN, T_A, answer, sizeof(answer)));
	printf("%d\n", res_nsearch(&st, name, C_IN, T_A, answer, sizeof(answer)));
	res_nclose(&st);
	CHECK_EQ(getaddrinfo_a(GAI_NOWAIT, list, 1, NULL), 0);
	while (gai_error(&ask) == EAI_INPROGRESS)
		gai_suspend((const struct gaicb *const *)list, 1, NULL);
	printf("%d %d\n", gai_error(&ask), ask.ar_result != NULL);
}

static void *body(void *arg)
{
	hosts();
	services();
	users();
	resolver();
	return arg;
}

int main(void)
{
	prog_init();
	prog_join(prog_start(body, NULL));
	return 0;
}
