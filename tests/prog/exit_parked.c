/* SPDX-License-Identifier: MIT */
/*
 * Every way to end a process, from the main thread and from another, with hundreds of threads parked in all kinds of
 * calls, some computing, one holding the lock of stdout: it ends at once, with its status; handlers of atexit and
 * destructors run once, on the thread that calls.
 *
 * exit_parked N: so many threads, 300 if not given.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum how { RETURN, EXIT, QUICK_EXIT, _EXIT, ABORT, KILLED, FAULT, LAST_THREAD, HOWS };

static const char *const names[HOWS] = { "return", "exit", "quick_exit", "_exit", "abort", "kill", "fault",
					 "last thread" };
static sem_t never, up;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int pipefd[2];
static pthread_t caller;
static volatile int leave;
static int threads = 300;
static volatile int *volatile nowhere = (volatile int *)8;

static void *parks(void *arg)
{
	char c;

	sem_post(&up);
	switch ((long)arg % 5) {
	case 0:
		while (!leave)
			sem_wait(&never);
		break;
	case 1:
		CHECK(read(pipefd[0], &c, 1) <= 0 || leave);
		break;
	case 2:
		while (!leave)
			usleep(2000);
		break;
	case 3:
		pthread_mutex_lock(&lock);
		while (!leave)
			pthread_cond_wait(&cond, &lock);
		pthread_mutex_unlock(&lock);
		break;
	default:
		if ((long)arg > 20) {
			while (!leave)
				usleep(1000);
			break;
		}
		while (!leave)
			sched_yield();
	}
	return NULL;
}

static void *holds_stdout(void *arg)
{
	flockfile(stdout);
	sem_post(&up);
	for (;;)
		sem_wait(&never);
	return arg;
}

static void say(const char *what)
{
	if (write(1, what, strlen(what)) < 0)
		_exit(99);
}

static void at_exit(void)
{
	say(pthread_equal(caller, pthread_self()) ? "atexit\n" : "atexit elsewhere\n");
}

static void at_quick(void)
{
	say(pthread_equal(caller, pthread_self()) ? "at_quick_exit\n" : "at_quick_exit elsewhere\n");
}

__attribute__((destructor)) static void destructor(void)
{
	if (caller)
		say("destructor\n");
}

static void ends(enum how how)
{
	switch (how) {
	case EXIT:
		exit(17);
	case QUICK_EXIT:
		quick_exit(18);
	case _EXIT:
		_exit(19);
	case ABORT:
		abort();
	case KILLED:
		kill(getpid(), SIGTERM);
		_exit(98);
	case FAULT:
		*nowhere = 1;
		_exit(98);
	default:
		_exit(97);
	}
}

static void *ends_from(void *arg)
{
	caller = pthread_self();
	ends((enum how)(long)arg);
	return arg;
}

static int child(enum how how, int thread)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (how == ABORT || how == FAULT)
		CHECK(freopen("/dev/null", "w", stderr) != NULL);
	sem_init(&never, 0, 0);
	sem_init(&up, 0, 0);
	CHECK_EQ(pipe(pipefd), 0);
	atexit(at_exit);
	at_quick_exit(at_quick);
	for (long i = 0; i < threads; i++)
		pthread_detach(prog_start(parks, (void *)i));
	if (how != LAST_THREAD)
		pthread_detach(prog_start(holds_stdout, NULL));
	for (int i = 0; i < threads + (how != LAST_THREAD); i++)
		while (sem_wait(&up) != 0)
			;
	if (thread) {
		pthread_join(prog_start(ends_from, (void *)(long)how), NULL);
		return 96;
	}
	caller = pthread_self();
	if (how == RETURN)
		return 16;
	if (how == LAST_THREAD) {
		leave = 1;
		for (int i = 0; i < threads; i++)
			sem_post(&never);
		pthread_cond_broadcast(&cond);
		close(pipefd[1]);
		caller = 0; /* whoever is the last */
		pthread_exit(NULL);
	}
	ends(how);
	return 95;
}

int main(int argc, char **argv)
{
	int status;

	prog_init();
	if (argc > 1)
		threads = atoi(argv[1]);
	for (int i = 0; i < 2 * HOWS; i++) {
		enum how how = (enum how)(i / 2);
		int thread = i % 2;
		pid_t pid;

		if (thread && (how == RETURN || how == LAST_THREAD))
			continue;
		printf("%s%s:\n", names[how], thread ? " from a thread" : "");
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			return child(how, thread);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status))
			printf("status %d\n", WEXITSTATUS(status));
		else
			printf("signal %d\n", WTERMSIG(status));
	}
	return 0;
}
