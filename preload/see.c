// SPDX-License-Identifier: MIT
/*
 * What the user asked to see: GODEBUG's schedtrace, GMPSHIM_STATS, and the dumps of core/dump.c: on SIGQUIT (or
 * GMPSHIM_DUMP_SIGNAL), and on signals that end the program by a fault. Their handler is installed only where the
 * program leaves the signal to its default action, which follows the dump; sigaction does not show it.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "core/evtrace.h"
#include "core/image.h"
#include "core/log.h"
#include "core/osinit.h"
#include "core/view.h"
#include "preload/preload.h"

/* Nobody refers to the table but a note: bring it out of the archive. */
static const struct gmp_view_entry *const view __attribute__((used)) = gmp_view;

#define TRACE_MAX_MS 86400000
#define TRACE_MAX_MB 4096

static struct {
	bool on, json;
	char path[256]; /* empty: stderr */
} stats;

static char trace_file[PATH_MAX];
static uint32_t trace_mb; /* 0: the default */
static int dump_signal = SIGQUIT; /* 0: none */
static bool dump_ends = true; /* the program ends after it, as by the default action */
static bool crash_dumps = true;

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

/* A file name, in which %p is the number of the process, and how large the raw trace may become. */
static void trace_from_env(const char *file, const char *mb)
{
	struct gmp_out pid = {.fd = -1};
	size_t n = 0;

	if (file == NULL || *file == '\0')
		return;
	if (mb != NULL) {
		trace_mb = (uint32_t)gmp_parse_number(mb, TRACE_MAX_MB);
		if ((int32_t)trace_mb <= 0) {
			gmp_log("GMPSHIM_TRACE_MB=%s: want a number from 1 to %d; ignored", mb, TRACE_MAX_MB);
			trace_mb = 0;
		}
	}
	for (; *file != '\0' && n + 16 < sizeof(trace_file); file++) {
		if (file[0] == '%' && file[1] == 'p') {
			gmp_outf(&pid, "%d", sys_getpid());
			memcpy(trace_file + n, pid.buf, pid.n);
			n += pid.n;
			pid.n = 0;
			file++;
		} else {
			trace_file[n++] = *file;
		}
	}
	trace_file[*file == '\0' ? n : 0] = '\0';
}

/* A signal by number or name, with or without SIG; none. The program goes on after such a dump. */
static void dump_signal_from_env(const char *env)
{
	int sig = 0;

	if (env == NULL)
		return;
	if (strncmp(env, "SIG", 3) == 0)
		env += 3;
	if (strcmp(env, "none") != 0) {
		sig = (int)gmp_parse_number(env, SIGRTMAX);
		for (int i = 1; i < 32 && sig <= 0; i++)
			if (sigabbrev_np(i) != NULL && strcmp(sigabbrev_np(i), env) == 0)
				sig = i;
		if (sig <= 0 || sig == SIGKILL || sig == SIGSTOP || sig == SIG_NOTIFY || sig == SIG_KICK) {
			gmp_log("GMPSHIM_DUMP_SIGNAL=%s is no signal to catch: using QUIT", env);
			return;
		}
	}
	dump_signal = sig;
	dump_ends = false;
}

static bool is_crash(int sig)
{
	return crash_dumps && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGABRT ||
			       sig == SIGTRAP || sig == SIGSYS);
}

void gmp_see_default(int sig, struct sigaction *k)
{
	if (sig != dump_signal && !is_crash(sig))
		return;
	memset(k, 0, sizeof(*k));
	k->sa_sigaction = gmp_see_handler;
	sigfillset(&k->sa_mask); /* nothing that may switch, on the M's signal stack; SIG_NOTIFY does not, there */
	k->sa_flags = (int)(SA_SIGINFO | SA_RESTART | SA_ONSTACK);
}

void gmp_see_live(void)
{
	struct sigaction k;
	int rc = trace_file[0] != '\0' ? gmp_trace_start_file(trace_file, trace_mb) : 0;

	if (rc < 0)
		gmp_log("GMPSHIM_TRACE: cannot write %s, error %d", trace_file, -rc);
	trace_file[0] = '\0'; /* not again in a forked child */

	for (int sig = 1; sig < _NSIG; sig++) {
		if ((sig != dump_signal && !is_crash(sig)) || real.sigaction(sig, NULL, &k) != 0 ||
		    k.sa_handler != SIG_DFL)
			continue;
		gmp_see_default(sig, &k);
		real.sigaction(sig, &k, NULL);
	}
}

/* On any thread, in any state. */
void gmp_see_handler(int sig, siginfo_t *info, void *uc)
{
	bool again = (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL) && info->si_code > 0;
	uint64_t dfl[4] = {0}; /* the kernel's struct sigaction: default action */

	if (live() && sig == dump_signal &&
	    (!dump_ends || gmp_tls.inshim > 0 || getg() == NULL || getg()->kind == GK_G0)) {
		/* not to wait here: it is sysmon, or may hold a lock that sysmon needs; see gmp_see_sent() */
		gmp_dump_request(sig, dump_ends ? DUMP_KILL : 0);
		return;
	}
	if (live())
		gmp_dump_wait(sig, sig == dump_signal ? DUMP_KILL : DUMP_CRASH, uc);
	sys4(__NR_rt_sigaction, sig, dfl, NULL, sizeof(gmp_sigset));
	if (!again) /* else the faulting instruction runs again: a core file shows the fault itself */
		sys3(__NR_tgkill, sys_getpid(), sys_gettid(), sig);
}

/* This thread has sent itself sig for its default action, inside the shim, which it has left: nothing follows. */
void gmp_see_sent(int sig)
{
	while (live() && sig == dump_signal && dump_ends)
		sys_nanosleep(NSEC_PER_SEC); /* sysmon ends the process */
}

/* See struct gmp_host. On sysmon, of the memory of a program in any state. */
static int lock_owner(const char *why, const void *obj, const char **ret_role)
{
	pthread_rwlock_t rw;
	pthread_mutex_t m;
	struct g g;

	if (strcmp(why, "mutex lock") == 0 &&
	    gmp_peek(&m, (uintptr_t)obj - offsetof(pthread_mutex_t, __data.__lock),
		     offsetof(pthread_mutex_t, __data.__owner) + sizeof(int)))
		return m.__data.__owner;
	if (strncmp(why, "rwlock", 6) == 0 && gmp_peek(&rw, (uintptr_t)obj & -(uintptr_t)4, sizeof(rw)))
		return rw.__data.__cur_writer; /* 0: readers, who are many */
	if (strcmp(why, "join") == 0 && gmp_peek(&g, (uintptr_t)obj - offsetof(struct g, exited), sizeof(g))) {
		*ret_role = "the end of";
		return g.tid;
	}
	return 0;
}

void gmp_see_init(void)
{
	const char *debug = gmp_getenv("GODEBUG"), *traceback = gmp_getenv("GOTRACEBACK");

	sched.trace_ns = godebug(debug, "schedtrace") * 1000000;
	sched.trace_detail = godebug(debug, "scheddetail") > 0;
	stats_from_env(gmp_getenv("GMPSHIM_STATS"));
	dump_signal_from_env(gmp_getenv("GMPSHIM_DUMP_SIGNAL"));
	crash_dumps = traceback == NULL || strcmp(traceback, "none") != 0;
	gmp_host.lock_owner = lock_owner;
	trace_from_env(gmp_getenv("GMPSHIM_TRACE"), gmp_getenv("GMPSHIM_TRACE_MB"));
}

static void __attribute__((destructor)) at_exit(void)
{
	char comm[32] = "?";
	int fd;

	gmp_trace_finish();
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
