/* SPDX-License-Identifier: MIT */
/*
 * Starting other programs from threads while others run: fork and exec, posix_spawn with file
 * actions, vfork, system, popen, waitid; exec from a thread replaces the whole process.
 */
#include "prog.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static volatile int stop;

static void *busy(void *arg)
{
	while (!stop) {
		free(malloc(1000));
		sched_yield();
	}
	return arg;
}

static void expect(int fd, const char *want)
{
	char buf[100] = { 0 };
	size_t n = 0;
	ssize_t r;

	while ((r = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0)
		n += (size_t)r;
	CHECK_EQ(r, 0);
	if (strcmp(buf, want))
		dprintf(2, "got \"%s\", want \"%s\"\n", buf, want);
	CHECK(!strcmp(buf, want));
}

static void reap(pid_t pid, int code)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), code);
}

static void *execs_in_thread(void *arg)
{
	execl("/bin/echo", "echo", "from thread", (char *)NULL);
	_exit(99);
	return arg;
}

static void *starts_all(void *arg)
{
	posix_spawn_file_actions_t acts;
	char *echo[] = { "echo", "spawned", NULL }, *none[] = { "none", NULL };
	char buf[32];
	siginfo_t info;
	int p[2], status;
	pid_t pid;
	FILE *f;

	(void)arg;
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(p[1], 1);
		execl("/bin/echo", "echo", "forked", (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	expect(p[0], "forked\n");
	close(p[0]);
	reap(pid, 0);

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&acts);
	posix_spawn_file_actions_adddup2(&acts, p[1], 1);
	CHECK_EQ(posix_spawn(&pid, "/bin/echo", &acts, NULL, echo, environ), 0);
	posix_spawn_file_actions_destroy(&acts);
	close(p[1]);
	expect(p[0], "spawned\n");
	close(p[0]);
	CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(info.si_status, 0);
	CHECK_EQ(posix_spawn(&pid, "/nonexistent/none", NULL, NULL, none, environ), ENOENT);

	pid = vfork();
	CHECK(pid >= 0);
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 6", (char *)NULL);
		_exit(127);
	}
	reap(pid, 6);
	pid = vfork();
	if (pid == 0)
		_exit(9);
	reap(pid, 9);

	status = system("exit 5");
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 5);
	CHECK(system(NULL) != 0);

	f = popen("echo popened", "re");
	CHECK(f);
	CHECK(fgets(buf, sizeof(buf), f));
	CHECK(!strcmp(buf, "popened\n"));
	CHECK(!fgets(buf, sizeof(buf), f));
	CHECK_EQ(pclose(f), 0);
	f = popen("read x; test \"$x\" = hello", "we");
	CHECK(f);
	CHECK(fputs("hello\n", f) >= 0);
	CHECK_EQ(pclose(f), 0);

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		pthread_t t;

		dup2(p[1], 1);
		pthread_create(&t, NULL, busy, NULL);
		pthread_create(&t, NULL, execs_in_thread, NULL);
		for (;;)
			pause();
	}
	close(p[1]);
	expect(p[0], "from thread\n");
	close(p[0]);
	reap(pid, 0);
	CHECK_FAILS(waitpid(pid, &status, 0), ECHILD);
	return NULL;
}

/* Reads the signal masks that /bin/cat was started with; by posix_spawn or by fork and exec. */
static void child_masks(int spawned, unsigned long long *ret_blocked,
			unsigned long long *ret_ignored)
{
	char *cat[] = { "cat", "/proc/self/status", NULL };
	posix_spawn_file_actions_t acts;
	int p[2], found = 0;
	char line[256];
	pid_t pid;
	FILE *f;

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	if (spawned) {
		posix_spawn_file_actions_init(&acts);
		posix_spawn_file_actions_adddup2(&acts, p[1], 1);
		CHECK_EQ(posix_spawn(&pid, "/bin/cat", &acts, NULL, cat, environ), 0);
		posix_spawn_file_actions_destroy(&acts);
	} else {
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			dup2(p[1], 1);
			execv("/bin/cat", cat);
			_exit(127);
		}
	}
	close(p[1]);
	f = fdopen(p[0], "r");
	while (fgets(line, sizeof(line), f)) {
		found += sscanf(line, "SigBlk: %llx", ret_blocked) == 1;
		found += sscanf(line, "SigIgn: %llx", ret_ignored) == 1;
	}
	CHECK_EQ(found, 2);
	fclose(f);
	reap(pid, 0);
}

/*
 * What a program is started with: no signal blocked or ignored but what the parent blocked or
 * ignored.
 */
static void *checks_signals(void *arg)
{
	unsigned long long blocked, ignored;
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (int spawned = 0; spawned < 2; spawned++) {
		child_masks(spawned, &blocked, &ignored);
		CHECK_EQ(blocked, 0);
		/*
		 * glibc's posix_spawn leaves its own two signals, 32 and 33, ignored in the child
		 */
		CHECK_EQ(ignored & ~0x180000000ull, 0);
		printf("ignored after %s: %llx\n", spawned ? "posix_spawn" : "fork", ignored);
		CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
		signal(SIGHUP, SIG_IGN);
		child_masks(spawned, &blocked, &ignored);
		CHECK_EQ(blocked, 1ull << (SIGUSR2 - 1));
		CHECK_EQ(ignored & ~0x180000000ull, 1ull << (SIGHUP - 1));
		signal(SIGHUP, SIG_DFL);
		CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	}
	return NULL;
}

int main(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	pthread_t ts[3], bs[2];
	sigset_t none;

	prog_init();
	/* whatever this test was started with */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		sigaction(sig, &dfl, NULL);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaction(sig, &dfl, NULL);
	starts_all(NULL);
	puts("alone ok");
	for (int i = 0; i < 2; i++)
		bs[i] = prog_start(busy, NULL);
	starts_all(NULL);
	puts("main ok");
	prog_join(prog_start(starts_all, NULL));
	puts("thread ok");
	for (int i = 0; i < 3; i++)
		ts[i] = prog_start(starts_all, NULL);
	for (int i = 0; i < 3; i++)
		prog_join(ts[i]);
	puts("threads ok");
	prog_join(prog_start(checks_signals, NULL));
	puts("signals ok");
	stop = 1;
	for (int i = 0; i < 2; i++)
		prog_join(bs[i]);
	return 0;
}
