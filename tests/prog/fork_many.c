/* SPDX-License-Identifier: MIT */
/*
 * fork from any thread at any moment, under load: others allocate, print, lock, read and write meanwhile. Each child
 * allocates, prints into memory, locks, sleeps; some create threads, fork again, or exec. Handlers of pthread_atfork
 * run in their order on the thread that forks, with the signals it admits, and what they change of the mask stays.
 *
 * fork_many N: so many forks, 400 if not given.
 */
#include "prog.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define FORKERS 4

static volatile int stop;
static int left, failed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *shared;
static char order[16];
static __thread int forking;
static volatile int handled;

static void note(char c)
{
	size_t n = strlen(order);

	if (forking != 2)
		return; /* the order is looked at by one thread alone */
	order[n] = c;
	order[n + 1] = '\0';
}

static void prepare1(void) { note('1'); }
static void parent1(void) { note('a'); }
static void child1(void) { note('x'); }

static void prepare2(void)
{
	note('2');
	if (forking == 2)
		raise(SIGUSR1); /* not blocked here */
}

static void parent2(void) { note('b'); }

static void child2(void)
{
	sigset_t set;

	note('y');
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (forking == 2)
		pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void on_usr1(int sig)
{
	handled++;
}

static void *allocates(void *arg)
{
	while (!stop) {
		void *p[20];

		for (size_t i = 0; i < 20; i++)
			p[i] = malloc(100 * i + 1);
		for (size_t i = 0; i < 20; i++)
			free(p[i]);
		usleep(10);
	}
	return arg;
}

static void *prints(void *arg)
{
	while (!stop) {
		fprintf(shared, "%d %s %f\n", 1, "line", 2.5);
		usleep(10);
	}
	return arg;
}

static void *locks(void *arg)
{
	while (!stop) {
		pthread_mutex_lock(&lock);
		usleep(10);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void *talks(void *arg)
{
	int *fd = arg;
	char c = 'x';

	while (!stop) {
		CHECK_EQ(write(fd[0], &c, 1), 1);
		CHECK_EQ(read(fd[0], &c, 1), 1);
	}
	shutdown(fd[0], SHUT_RDWR);
	return NULL;
}

static void *answers(void *arg)
{
	int *fd = arg;
	char c;

	while (read(fd[1], &c, 1) == 1)
		if (send(fd[1], &c, 1, MSG_NOSIGNAL) != 1)
			break;
	return NULL;
}

static void *adds(void *arg)
{
	pthread_mutex_lock(arg);
	usleep(10);
	pthread_mutex_unlock(arg);
	free(malloc(1000));
	return arg;
}

static int child(int n)
{
	static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
	pthread_t t[3];
	char buf[100], *p = malloc(5000);
	int status, fd[2];
	pid_t pid;

	if (getpid() != gettid() || p == NULL)
		return 2;
	memset(p, 1, 5000);
	free(p);
	if (snprintf(buf, sizeof(buf), "%d %g", n, 1.5) < 3)
		return 3;
	usleep(1);
	if (pipe(fd) != 0 || write(fd[1], "x", 1) != 1 || read(fd[0], buf, 1) != 1)
		return 4;
	if (n % 4 == 1) {
		for (int i = 0; i < 3; i++)
			t[i] = prog_start(adds, &own);
		for (int i = 0; i < 3; i++)
			if (prog_join(t[i]) != &own)
				return 5;
	}
	if (n % 8 == 5) { /* after threads, from a child: the grandchild has threads as well */
		pid = fork();
		if (pid == 0)
			_exit(prog_join(prog_start(adds, &own)) == &own ? 0 : 1);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 6;
	}
	if (n % 16 == 3)
		execl("/bin/true", "true", (char *)NULL);
	if (n % 16 == 7)
		exit(0); /* flushes, runs destructors */
	return 0;
}

static void *forks(void *arg)
{
	forking = 1;
	for (;;) {
		int n = __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST), status;
		pid_t pid;

		if (n < 0)
			return arg;
		pid = fork();
		if (pid == 0) {
			fclose(stdout);
			_exit(child(n));
		}
		CHECK(pid > 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (status != 0) {
			fprintf(stderr, "child %d: status %x\n", n, (unsigned)status);
			failed++;
		}
	}
}

static int cloned(void *arg)
{
	return getpid() == gettid() && prog_join(prog_start(adds, arg)) == arg ? 11 : 12;
}

static void *clones(void *arg)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
	int status;
	pid_t pid = clone(cloned, stack + sizeof(stack), SIGCHLD, &own);

	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 11);
	pid = clone(cloned, stack + sizeof(stack), SIGCHLD | CLONE_FS, &own);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WEXITSTATUS(status), 11);
	return arg;
}

static void *checks_order(void *arg)
{
	sigset_t now;
	int status;
	pid_t pid;

	forking = 2;
	pid = fork();
	if (pid == 0) {
		if (strcmp(order, "21xy") != 0 || pthread_sigmask(SIG_BLOCK, NULL, &now) != 0 ||
		    sigismember(&now, SIGUSR2) != 1 || sigismember(&now, SIGUSR1) != 0)
			_exit(1);
		_exit(0);
	}
	CHECK(strcmp(order, "21ab") == 0);
	CHECK_EQ(handled, 1);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	CHECK(sigismember(&now, SIGUSR2) == 0 && sigismember(&now, SIGUSR1) == 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t load[6], f[FORKERS];
	int fd[2];

	prog_init();
	left = argc > 1 ? atoi(argv[1]) : 400;
	shared = fopen("/dev/null", "w");
	signal(SIGUSR1, on_usr1);
	CHECK_EQ(pthread_atfork(prepare1, parent1, child1), 0);
	CHECK_EQ(pthread_atfork(prepare2, parent2, child2), 0);
	prog_join(prog_start(checks_order, NULL));
	puts("order ok");
	prog_join(prog_start(clones, NULL));
	clones(NULL);
	puts("clone ok");
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	load[0] = prog_start(allocates, NULL);
	load[1] = prog_start(allocates, NULL);
	load[2] = prog_start(prints, NULL);
	load[3] = prog_start(locks, NULL);
	load[4] = prog_start(talks, fd);
	load[5] = prog_start(answers, fd);
	for (int i = 0; i < FORKERS; i++)
		f[i] = prog_start(forks, NULL);
	for (int i = 0; i < FORKERS; i++)
		prog_join(f[i]);
	stop = 1;
	for (int i = 0; i < 6; i++)
		prog_join(load[i]);
	CHECK_EQ(failed, 0);
	puts("forks ok");
	return 0;
}
