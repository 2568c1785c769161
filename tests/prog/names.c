/* SPDX-License-Identifier: MIT */
/*
 * The names of threads, by prctl and by pthread_setname_np: each has its own wherever it runs, a new thread has its
 * creator's, the main thread's is the process's; a child of fork has the name of the thread that made it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "prog.h"

#define THREADS	20
#define ROUNDS	50

static void comm_is(const char *want)
{
	char have[32] = "";
	int fd = open("/proc/self/comm", O_RDONLY);

	CHECK(fd >= 0 && read(fd, have, sizeof(have) - 1) > 0);
	close(fd);
	have[strcspn(have, "\n")] = '\0';
	CHECK(!strcmp(have, want));
}

static void name_is(const char *want)
{
	char have[16];

	memset(have, 'x', sizeof(have));
	CHECK_EQ(prctl(PR_GET_NAME, have), 0);
	CHECK(!strcmp(have, want));
	memset(have, 'x', sizeof(have));
	CHECK_EQ(pthread_getname_np(pthread_self(), have, sizeof(have)), 0);
	CHECK(!strcmp(have, want));
	memset(have, 'x', sizeof(have));
	CHECK_EQ(syscall(SYS_prctl, PR_GET_NAME, have), 0);
	CHECK(!strcmp(have, want));
}

static void *heir(void *arg)
{
	name_is(arg);
	return NULL;
}

static void *named(void *arg)
{
	char name[16], child_name[16];
	int i = (int)(intptr_t)arg, status;
	pid_t pid;

	name_is("first");
	snprintf(name, sizeof(name), "worker %d", i);
	if (i % 3 == 0)
		CHECK_EQ(prctl(PR_SET_NAME, name), 0);
	else if (i % 3 == 1)
		CHECK_EQ(pthread_setname_np(pthread_self(), name), 0);
	else
		CHECK_EQ(syscall(SYS_prctl, PR_SET_NAME, name), 0);
	for (int k = 0; k < ROUNDS; k++) {
		name_is(name);
		prog_nap_ms(i % 2);
		sched_yield();
	}
	prog_join(prog_start(heir, name));
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(prctl(PR_GET_NAME, child_name), 0);
		CHECK(!strcmp(child_name, name));
		comm_is(name);
		_exit(7);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	return NULL;
}

static void *outsider(void *arg)
{
	pthread_t main_thread = *(pthread_t *)arg;

	CHECK_EQ(pthread_setname_np(main_thread, "by another"), 0);
	return NULL;
}

static void bad_pointers(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	CHECK_EQ(mprotect(page + 4096, 4096, PROT_NONE), 0);
	CHECK_EQ(prctl(PR_SET_NAME, page + 4096), -1);
	CHECK_EQ(errno, EFAULT);
	memset(page + 4090, 'y', 6);
	CHECK_EQ(prctl(PR_SET_NAME, page + 4090), -1);	/* no end before the page's */
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(prctl(PR_GET_NAME, page + 4090), -1);
	CHECK_EQ(errno, EFAULT);
	name_is("by another");
	strcpy(page + 4090, "short");
	CHECK_EQ(prctl(PR_SET_NAME, page + 4090), 0);
	name_is("short");
	CHECK_EQ(prctl(PR_SET_NAME, "longer than fifteen letters"), 0);
	name_is("longer than fif");
	comm_is("longer than fif");
	CHECK_EQ(prctl(PR_SET_NAME, ""), 0);
	name_is("");
	comm_is("");
	CHECK_EQ(munmap(page, 8192), 0);
}

int main(void)
{
	pthread_t t[THREADS], self = pthread_self();

	CHECK_EQ(prctl(PR_SET_NAME, "first"), 0);	/* before there are threads */
	comm_is("first");
	prog_init();
	for (int i = 0; i < THREADS; i++)
		t[i] = prog_start(named, (void *)(intptr_t)i);
	for (int i = 0; i < THREADS; i++)
		prog_join(t[i]);
	name_is("first");
	prog_join(prog_start(outsider, &self));
	name_is("by another");
	comm_is("by another");
	bad_pointers();
	return 0;
}
