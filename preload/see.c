// SPDX-License-Identifier: MIT
/* What the user asked to see by environment variables: GODEBUG's schedtrace, GMPSHIM_STATS. */
#include <fcntl.h>
#include <string.h>

#include "core/log.h"
#include "core/osinit.h"
#include "preload/preload.h"

#define TRACE_MAX_MS 86400000

static struct {
	bool on, json;
	char path[256]; /* empty: stderr */
} stats;

/* The number behind `name=` in GODEBUG's comma-separated list; 0 when it is not there or makes no sense. */
static int64_t godebug(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; p != NULL && *p != '\0'; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strncmp(p, name, n) == 0 && p[n] == '=') {
			char value[16];
			size_t len = strcspn(p + n + 1, ",");

			if (len >= sizeof(value))
				return 0;
			memcpy(value, p + n + 1, len);
			value[len] = '\0';
			len = (size_t)gmp_parse_number(value, TRACE_MAX_MS);
			return (int64_t)len > 0 ? (int64_t)len : 0;
		}
	return 0;
}

/* 1 | text[:FILE] | json[:FILE] */
static void stats_from_env(const char *env)
{
	size_t n;

	if (env == NULL || strcmp(env, "0") == 0)
		return;
	n = strcspn(env, ":");
	stats.json = n == 4 && strncmp(env, "json", n) == 0;
	stats.on = stats.json || (n == 4 && strncmp(env, "text", n) == 0) || strcmp(env, "1") == 0;
	if (!stats.on || strlen(env) - n > sizeof(stats.path)) {
		stats.on = false;
		gmp_log("GMPSHIM_STATS=%s: want 1, text[:FILE] or json[:FILE]; ignored", env);
	} else if (env[n] == ':') {
		strcpy(stats.path, env + n + 1);
	}
}

void gmp_see_init(void)
{
	const char *debug = gmp_getenv("GODEBUG");

	sched.trace_ns = godebug(debug, "schedtrace") * 1000000;
	sched.trace_detail = godebug(debug, "scheddetail") > 0;
	stats_from_env(gmp_getenv("GMPSHIM_STATS"));
}

static void __attribute__((destructor)) at_exit(void)
{
	char comm[32] = "?";
	int fd;

	if (!stats.on || sched.maing == NULL)
		return;
	sys2(__NR_prctl, 16 /* PR_GET_NAME */, comm);
	fd = stats.path[0] != '\0' ? (int)sys4(__NR_openat, AT_FDCWD, stats.path,
					       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
				   : 2;
	if (fd < 0) {
		gmp_log("GMPSHIM_STATS: cannot write %s, error %d", stats.path, -fd);
		return;
	}
	gmp_stats(fd, stats.json, comm);
	if (fd != 2)
		sys1(__NR_close, fd);
}
