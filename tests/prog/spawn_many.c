/* SPDX-License-Identifier: MIT */
/*
 * Programs are started by many threads at once, in every way: posix_spawn, vfork and exec, system, popen both ways,
 * fork, and daemon from a process with threads; while others wait, allocate, take signals. Each status and each text
 * comes back to the thread that asked for it.
 *
 * spawn_many N: so many by each thread, 24 if not given.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define STARTERS 8
#define WAITERS	 200

extern char **environ;
static volatile int stop;
static int ended;
static int rounds = 24;
static sem_t never;
static pthread_t starter[STARTERS];

static void on_usr1(int sig)
{
}

static int status_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK_EQ(errno, EINTR);
	return status;
}

static void spawns(int want)
{
	char script[32];
	char *argv[] = { (char *)"sh", (char *)"-c", script, NULL };
	pid_t pid;

	snprintf(script, sizeof(script), "exit %d", want);
	CHECK_EQ(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
	CHECK_EQ(status_of(pid), want << 8);
}

static void vforks(int want)
{
	char script[32];
	pid_t pid;

	snprintf(script, sizeof(script), "exit %d", want);
	pid = vfork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	CHECK(pid > 0);
	CHECK_EQ(status_of(pid), want << 8);
}

static void shells(int want)
{
	char script[32];

	snprintf(script, sizeof(script), "exit %d", want);
	CHECK_EQ(system(script), want << 8);
}

static void reads_from(int want)
{
	char script[48], line[64];
	FILE *f;

	snprintf(script, sizeof(script), "echo %d; exit %d", want, want);
	f = popen(script, "re");
	CHECK(f != NULL);
	CHECK(fgets(line, sizeof(line), f) != NULL);
	CHECK_EQ(atoi(line), want);
	CHECK_EQ(pclose(f), want << 8);
}

static void writes_to(int want)
{
	FILE *f = popen("read x; exit $x", "we");

	CHECK(f != NULL);
	CHECK(fprintf(f, "%d\n", want) > 0);
	CHECK_EQ(pclose(f), want << 8);
}

static void *nothing(void *arg)
{
	return arg;
}

/* A process with threads becomes a daemon, which creates threads. */
static void daemonises(int want)
{
	int p[2];
	char c = 0;
	pid_t pid;

	CHECK_EQ(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		pthread_t t = prog_start(nothing, NULL);

		close(p[0]);
		if (daemon(1, 1) != 0) /* the parent's _exit(0) is in here */
			_exit(1);
		(void)t;
		prog_join(prog_start(nothing, NULL));
		c = (char)want;
		_exit(write(p[1], &c, 1) != 1);
	}
	CHECK(pid > 0);
	close(p[1]);
	CHECK_EQ(status_of(pid), 0);
	while (read(p[0], &c, 1) == -1)
		CHECK_EQ(errno, EINTR);
	CHECK_EQ(c, want);
	close(p[0]);
}

static void *starts(void *arg)
{
	static void (*const ways[])(int) = { spawns, vforks, shells, reads_from, writes_to, daemonises };
	int me = (int)(long)arg;

	for (int i = 0; i < rounds; i++)
		ways[(i + me) % 6](1 + (i * STARTERS + me) % 100);
	__atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
	return arg;
}

static void *waits(void *arg)
{
	while (sem_wait(&never) != 0)
		;
	return arg;
}

static void *disturbs(void *arg)
{
	for (unsigned i = 0; !stop; i++) {
		free(malloc(i % 5000));
		pthread_kill(starter[i % STARTERS], SIGUSR1);
		usleep(300);
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	pthread_t waiter[WAITERS], d;

	prog_init();
	if (argc > 1)
		rounds = atoi(argv[1]);
	sem_init(&never, 0, 0);
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	for (int i = 0; i < WAITERS; i++)
		waiter[i] = prog_start(waits, NULL);
	for (long i = 0; i < STARTERS; i++)
		starter[i] = prog_start(starts, (void *)i);
	d = prog_start(disturbs, NULL);
	while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) < STARTERS)
		usleep(1000);
	stop = 1;
	prog_join(d); /* before those that it sends to */
	for (int i = 0; i < STARTERS; i++)
		prog_join(starter[i]);
	puts("all came back");
	for (int i = 0; i < WAITERS; i++)
		sem_post(&never);
	for (int i = 0; i < WAITERS; i++)
		prog_join(waiter[i]);
	CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
	puts("none left");
	return 0;
}
