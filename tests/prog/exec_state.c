/* SPDX-License-Identifier: MIT */
/*
 * What a new image finds: exec from a thread while others are parked, compute and are being signalled leaves it the
 * mask and the ignored signals of the thread that calls, and nothing else. It is preloaded as its parent, unless that
 * had GMPSHIM_INHERIT=0.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static sem_t never;
static char *self;

static void on_signal(int sig)
{
}

static void *parks(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (;;)
		sem_wait(&never);
	return arg;
}

static void *computes(void *arg)
{
	for (volatile int i = 0;; i++)
		;
	return arg;
}

static void *signals(void *arg)
{
	for (;;) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		usleep(100);
	}
	return NULL;
}

static void *execs(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
	usleep(3000);
	execl(self, self, "found", (char *)NULL);
	_exit(9);
}

static int shimmed(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");
	int found = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		found |= strstr(line, "libgmpshim") != NULL;
	fclose(f);
	return found;
}

/* In the new image. */
static int found(void)
{
	struct sigaction sa;
	sigset_t set;

	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
	for (int sig = 1; sig < NSIG; sig++) {
		if (sig == 32 || sig == 33)
			continue;
		CHECK_EQ(sigismember(&set, sig), sig == SIGHUP);
		CHECK_EQ(sigaction(sig, NULL, &sa), 0);
		CHECK(sa.sa_handler == (sig == SIGUSR2 ? SIG_IGN : SIG_DFL));
	}
	CHECK_EQ(sigpending(&set), 0);
	for (int sig = 1; sig < NSIG; sig++)
		CHECK(sig == SIGUSR1 || sigismember(&set, sig) <= 0);
	prog_init(); /* its threads are as its parent's */
	return 0;
}

static void one(const char *mode)
{
	char *args[] = { self, (char *)mode, NULL };
	int status;
	pid_t pid;

	CHECK_EQ(posix_spawn(&pid, self, NULL, NULL, args, environ), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void from_thread(void)
{
	static pthread_t t[8];

	prog_init();
	signal(SIGUSR2, SIG_IGN);
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	sem_init(&never, 0, 0);
	for (int i = 0; i < 5; i++)
		t[i] = prog_start(parks, NULL);
	t[5] = prog_start(computes, NULL);
	t[6] = prog_start(execs, NULL);
	t[7] = prog_start(signals, &t[5]); /* one sent to t[6] could be left to the new image */
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static char path[4096];

	CHECK(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	self = path;
	if (argc > 1 && strcmp(argv[1], "found") == 0)
		return found();
	if (argc > 1 && strcmp(argv[1], "from_thread") == 0)
		from_thread();
	if (argc > 1 && strcmp(argv[1], "disinherits") == 0) {
		prog_init();
		CHECK_EQ(unsetenv("GMPSHIM_EXPECT_LIVE"), 0);
		one("native");
		CHECK_EQ(system("grep -q libgmpshim /proc/self/maps"), 256);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "native") == 0)
		return shimmed();
	prog_init();
	for (int i = 0; i < 30; i++)
		one("from_thread");
	puts("exec ok");
	CHECK_EQ(setenv("GMPSHIM_INHERIT", "0", 1), 0);
	one("disinherits");
	puts("not inherited");
	return 0;
}
