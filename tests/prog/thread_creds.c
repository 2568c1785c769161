/* SPDX-License-Identifier: MIT */
/*
 * What a thread changes of itself in the kernel is its own: it keeps it however often it waits, the threads that it
 * creates inherit it, no other thread ever sees it, and it ends with them. By prctl, by the raw system calls, by libc
 * functions that are nothing but such calls. libc's setuid family is for all threads.
 */
#include "prog.h"

#include <asm/prctl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <signal.h>
#include <stddef.h>

#define BYSTANDERS 12
#define NOBODY	   65534
#define SLACK	   77777

static volatile int stop;
static long base_slack, base_persona;
static char base_name[16];

/* --- one line for each property: set it, get it --- */

static int set_no_new_privs(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static long get_no_new_privs(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }
static int set_slack(void) { return (int)syscall(SYS_prctl, PR_SET_TIMERSLACK, SLACK, 0, 0, 0); }
static long get_slack(void) { return syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0); }
static int set_keepcaps(void) { return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); }
static long get_keepcaps(void) { return prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0); }
static int set_death(void) { return prctl(PR_SET_PDEATHSIG, SIGWINCH); }
static int set_persona(void) { return personality(ADDR_NO_RANDOMIZE) == -1 ? -1 : 0; }
static long get_persona(void) { return personality(0xffffffff); }
static int set_fsuid(void) { return setfsuid(NOBODY) == 0 ? 0 : -1; }
static long get_fsuid(void) { return setfsuid(-1); }
static int set_euid(void) { return (int)syscall(SYS_setresuid, -1, NOBODY, -1); }
static long get_euid(void) { return syscall(SYS_geteuid); }

static long get_death(void)
{
	int sig = -1;

	CHECK_EQ(prctl(PR_GET_PDEATHSIG, &sig), 0);
	return sig;
}

static int set_name(void)
{
	return prctl(PR_SET_NAME, "changed, and longer than fifteen");
}

static long get_name(void)
{
	char name[16];

	CHECK_EQ(prctl(PR_GET_NAME, name), 0);
	if (!strcmp(name, "changed, and lo"))
		return 1;
	CHECK(!strcmp(name, base_name));
	return 0;
}

/* One system call has an error of its own. */
static int set_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_swapoff, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	CHECK_EQ(set_no_new_privs(), 0);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static long get_filter(void)
{
	CHECK_EQ(syscall(SYS_swapoff, NULL), -1);
	return errno == EXDEV;
}

#ifdef ARCH_SET_GS
static int gs;

static int set_gs(void) { return (int)syscall(SYS_arch_prctl, ARCH_SET_GS, &gs); }

static long get_gs(void)
{
	unsigned long base = 1;

	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &base), 0);
	return base == (unsigned long)&gs;
}
#endif

static const struct property {
	const char *name;
	int (*set)(void);
	long (*get)(void);
	long value;
	int inherited, root;
} properties[] = {
	{ "name", set_name, get_name, 1, 1, 0 },
	{ "no_new_privs", set_no_new_privs, get_no_new_privs, 1, 1, 0 },
	{ "seccomp", set_filter, get_filter, 1, 1, 0 },
	{ "timer slack", set_slack, get_slack, SLACK, 1, 0 },
	{ "keepcaps", set_keepcaps, get_keepcaps, 1, 1, 0 },
	{ "death signal", set_death, get_death, SIGWINCH, 0, 0 },
	{ "personality", set_persona, get_persona, ADDR_NO_RANDOMIZE, 1, 0 },
#ifdef ARCH_SET_GS
	{ "gs", set_gs, get_gs, 1, 1, 0 },
#endif
	{ "fsuid", set_fsuid, get_fsuid, NOBODY, 1, 1 },
	{ "euid", set_euid, get_euid, NOBODY, 1, 1 },
};
#define NPROPERTIES ((int)(sizeof(properties) / sizeof(properties[0])))

static void wait_a_little(int i)
{
	if (i % 4 == 0)
		usleep(50);
	else
		sched_yield();
}

static void nothing_changed(void)
{
	CHECK_EQ(get_no_new_privs(), 0);
	CHECK_EQ(get_slack(), base_slack);
	CHECK_EQ(get_keepcaps(), 0);
	CHECK_EQ(get_death(), 0);
	CHECK_EQ(get_persona(), base_persona);
	CHECK_EQ(get_name(), 0);
	CHECK_EQ(get_filter(), 0);
	CHECK_EQ(get_fsuid(), geteuid());
	CHECK_EQ(get_euid(), geteuid());
#ifdef ARCH_SET_GS
	CHECK_EQ(get_gs(), 0);
#endif
}

static void *stands_by(void *arg)
{
	for (int i = 0; !stop; i++) {
		nothing_changed();
		wait_a_little(i);
	}
	return arg;
}

static void *born(void *arg)
{
	const struct property *p = arg;

	for (int i = 0; i < 10; i++) {
		CHECK_EQ(p->get() == p->value, p->inherited);
		wait_a_little(i);
	}
	return arg;
}

/* How many threads the kernel shows with this line in their status. */
static int tasks_with(const char *line)
{
	DIR *d = opendir("/proc/self/task");
	char path[300], text[256];
	struct dirent *e;
	int n = 0;
	FILE *f;

	CHECK(d);
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
		while (f != NULL && fgets(text, sizeof(text), f))
			n += !strncmp(text, line, strlen(line));
		if (f != NULL)
			fclose(f);
	}
	closedir(d);
	return n;
}

static void *changes(void *arg)
{
	const struct property *p = arg;
	pthread_t t;

	nothing_changed();
	CHECK_EQ(p->set(), 0);
	t = prog_start(born, arg);
	for (int i = 0; i < 40; i++) {
		CHECK_EQ(p->get(), p->value);
		wait_a_little(i);
	}
	CHECK(prog_join(t) == arg);
	CHECK(prog_join(prog_start(born, arg)) == arg);
	return arg;
}

static void *changes_for_a_moment(void *arg)
{
	CHECK_EQ(set_no_new_privs(), 0);
	return arg;
}

static pthread_barrier_t changed;

static void *holds_two(void *arg)
{
	CHECK_EQ(set_no_new_privs(), 0);
	if (arg != NULL) {
		pthread_t t = prog_start(holds_two, NULL);

		pthread_barrier_wait(&changed);
		pthread_barrier_wait(&changed);
		prog_join(t);
	} else {
		pthread_barrier_wait(&changed);
		pthread_barrier_wait(&changed);
	}
	return arg;
}

int main(void)
{
	pthread_t by[BYSTANDERS], t[NPROPERTIES];
	int root = geteuid() == 0, before;

	prog_init();
	CHECK_EQ(prctl(PR_GET_NAME, base_name), 0);
	base_slack = get_slack();
	base_persona = get_persona();
	for (int i = 0; i < BYSTANDERS; i++)
		by[i] = prog_start(stands_by, NULL);
	for (int round = 0; round < 3; round++) {
		int n = 0;

		for (int i = 0; i < NPROPERTIES; i++)
			if (root || !properties[i].root)
				t[n++] = prog_start(changes, (void *)&properties[i]);
		while (n > 0)
			prog_join(t[--n]);
	}
	puts("each thread's own");
	pthread_barrier_init(&changed, NULL, 3);
	t[0] = prog_start(holds_two, t);
	pthread_barrier_wait(&changed);
	CHECK_EQ(tasks_with("NoNewPrivs:\t1"), 2);
	pthread_barrier_wait(&changed);
	prog_join(t[0]);
	while (tasks_with("NoNewPrivs:\t1") != 0) /* the kernel has not quite done with them */
		usleep(1000);
	puts("two of them");
	before = prog_kthreads();
	for (int i = 0; i < 300; i++)
		prog_join(prog_start(changes_for_a_moment, NULL));
	CHECK(prog_kthreads() < before + 100);
	puts("none is left");
	stop = 1;
	for (int i = 0; i < BYSTANDERS; i++)
		prog_join(by[i]);
	if (root) {
		by[0] = prog_start(holds_two, by);
		pthread_barrier_wait(&changed);
		CHECK_EQ(seteuid(NOBODY), 0);
		CHECK_EQ(tasks_with("Uid:\t0\t65534\t0\t65534"), prog_kthreads());
		CHECK_EQ(seteuid(0), 0);
		CHECK_EQ(tasks_with("Uid:\t0\t0\t0\t0"), prog_kthreads());
		pthread_barrier_wait(&changed);
		prog_join(by[0]);
	}
	CHECK_EQ(prctl(PR_SET_NAME, "the main one"), 0);
	CHECK_EQ(tasks_with("Name:\tthe main one"), 1);
	CHECK_FAILS(prctl(PR_SET_NAME, NULL), EFAULT);
	puts("all threads'");
	return 0;
}
