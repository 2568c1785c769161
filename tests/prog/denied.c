/* SPDX-License-Identifier: MIT */
/*
 * A sandbox refuses system calls (seccomp: EPERM, ENOSYS) that threads do not need natively: containers with an older
 * list of calls, services with SystemCallFilter=. Threads work all the same, whether on the shim or, after one line
 * that says why, on kernel threads. Each case runs in a process of its own, which has the filter from its start; most
 * of them sleep most of the time, so several run at once.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "prog.h"

#define ROUNDS	200
#define AT_ONCE	8 /* processes */

static const struct {
	const char *name;
	long nr;
} calls[] = {
#define CALL(name)	{ #name, SYS_##name }
	CALL(membarrier), CALL(epoll_create1), CALL(eventfd2), CALL(epoll_ctl), CALL(epoll_pwait), CALL(epoll_pwait2),
	CALL(preadv2), CALL(pwritev2), CALL(recvfrom), CALL(sendto), CALL(sendmsg), CALL(ppoll), CALL(rt_sigtimedwait),
	CALL(rt_tgsigqueueinfo), CALL(clock_gettime), CALL(close_range), CALL(madvise), CALL(sched_yield),
	CALL(sigaltstack), CALL(prctl),
};
#define NCALLS	(sizeof(calls) / sizeof(calls[0]))

static void refuse(long nr, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, stop, handled, pipes[2][2], pair[2];

static void *partner(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			CHECK_EQ(pthread_cond_wait(&cond, &lock), 0);
		turn = !me;
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *pipe_echo(void *arg)
{
	char c;

	while (read(pipes[0][0], &c, 1) == 1)
		CHECK_EQ(write(pipes[1][1], &c, 1), 1);
	return NULL;
}

static void *socket_echo(void *arg)
{
	struct pollfd p = { .fd = pair[0], .events = POLLIN };
	char c;

	while (poll(&p, 1, -1) == 1 && read(pair[0], &c, 1) == 1)
		CHECK_EQ(write(pair[0], &c, 1), 1);
	return NULL;
}

/* Never calls anything: others must get their turn all the same, at GOMAXPROCS=1 too. */
static void *hog(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

static void handler(int sig)
{
	__atomic_store_n(&handled, sig, __ATOMIC_RELEASE);
}

static void *hand_over(void *arg)
{
	prog_nap_ms(5);
	return arg;
}

static void *waits(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *sleeper(void *arg)
{
	prog_nap_ms(200);
	return arg;
}

static void *stream_reader(void *arg)
{
	int c = getc(arg);

	CHECK_EQ(c, 's');
	return NULL;
}

static int64_t cpu_used_ns(void)
{
	struct rusage u;

	CHECK_EQ(getrusage(RUSAGE_SELF, &u), 0);
	return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000 +
	       ((int64_t)u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static void work(void)
{
	int64_t before;
	pthread_t t[4];
	struct timespec until;
	int status;
	pid_t pid;
	FILE *f;
	char c;

	CHECK_EQ(pipe(pipes[0]) + pipe(pipes[1]) + socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (int i = 0; i < 100; i++)
		prog_join(prog_start(hand_over, NULL));

	t[0] = prog_start(partner, (void *)0);
	t[1] = prog_start(partner, (void *)1);
	prog_join(t[0]);
	prog_join(t[1]);

	t[0] = prog_start(hog, NULL);
	t[1] = prog_start(hog, NULL);
	t[2] = prog_start(pipe_echo, NULL);
	t[3] = prog_start(socket_echo, NULL);
	for (int i = 0; i < 2; i++) {
		c = (char)i;
		CHECK_EQ(write(pipes[0][1], &c, 1), 1);
		CHECK(read(pipes[1][0], &c, 1) == 1 && c == i);
		CHECK_EQ(write(pair[1], &c, 1), 1);
		CHECK(read(pair[1], &c, 1) == 1 && c == i);
	}
	signal(SIGUSR1, handler);
	CHECK_EQ(pthread_kill(t[0], SIGUSR1), 0);	/* one that computes */
	while (__atomic_exchange_n(&handled, 0, __ATOMIC_ACQUIRE) != SIGUSR1)
		prog_nap_ms(1);
	CHECK_EQ(pthread_kill(t[3], SIGUSR1), 0);	/* one that waits: poll ends with EINTR, and the thread; */
	CHECK_EQ(shutdown(pair[1], SHUT_RDWR), 0);	/* should it be on its way there, it ends by this */
	prog_join(t[3]);
	CHECK_EQ(handled, SIGUSR1);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	prog_join(t[0]);
	prog_join(t[1]);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_EQ(write(pipes[0][1], &c, 1), 1);
		CHECK_EQ(read(pipes[1][0], &c, 1), 1);
	}
	close(pipes[0][1]);
	prog_join(t[2]);

	/* One that nobody ends but cancellation. */
	t[0] = prog_start(waits, NULL);
	CHECK_EQ(pthread_cancel(t[0]), 0);
	CHECK(prog_join(t[0]) == PTHREAD_CANCELED);

	/* A wait inside libc */
	CHECK_EQ(pipe(pipes[0]), 0);
	f = fdopen(pipes[0][0], "r");
	CHECK(f);
	t[0] = prog_start(stream_reader, f);
	prog_nap_ms(20);
	CHECK_EQ(write(pipes[0][1], "s", 1), 1);
	prog_join(t[0]);

	until = prog_after_ms(CLOCK_REALTIME, 10);
	pthread_mutex_lock(&lock);
	CHECK_EQ(pthread_cond_timedwait(&cond, &lock, &until), ETIMEDOUT);
	pthread_mutex_unlock(&lock);

	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		turn = 0;
		t[0] = prog_start(partner, (void *)0);
		t[1] = prog_start(partner, (void *)1);
		prog_join(t[0]);
		prog_join(t[1]);
		_exit(7);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WEXITSTATUS(status), 7);

	/* All sleep: nobody may look for work in a loop meanwhile. */
	before = cpu_used_ns();
	for (int i = 0; i < 4; i++)
		t[i] = prog_start(sleeper, NULL);
	for (int i = 0; i < 4; i++)
		prog_join(t[i]);
	CHECK(cpu_used_ns() - before < 100000000);
}

/* A process that is refused a call. */
struct one {
	const char *name;
	int err, out;
	pid_t pid;
};

/* Runs work() there. */
static void begin(struct one *o, const char *name, long nr, int err)
{
	char path[256];
	int out[2];
	pid_t pid;

	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(out[1], 2);
		alarm(30);
		refuse(nr, err);
		prog_beside(path, sizeof(path), "denied");
		execl(path, path, "work", (char *)NULL);
		CHECK(!"exec");
	}
	close(out[1]);
	*o = (struct one){ name, err, out[0], pid };
}

/* stderr must have at most one line. */
static int end(const struct one *o)
{
	char text[1024];
	size_t have = 0;
	ssize_t got;
	int status;

	while ((got = read(o->out, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)got;
	text[have] = '\0';
	close(o->out);
	CHECK_EQ(waitpid(o->pid, &status, 0), o->pid);
	if (status == 0 && (have == 0 || (!strncmp(text, "gmpshim: ", 9) && strchr(text, '\n') == text + have - 1)))
		return 0;
	printf("%s refused with %d: status %x, said: %s\n", o->name, o->err, status, text);
	return 1;
}

int main(int argc, char **argv)
{
	struct one cases[2 * NCALLS];
	unsigned n = 0;
	int bad = 0;

	if (argc > 1 && !strcmp(argv[1], "work")) {
		work();
		return 0;
	}
	prog_init();
	for (unsigned i = 0; i < NCALLS; i++)
		if (argc < 2 || !strcmp(argv[1], calls[i].name)) {
			begin(&cases[n++], calls[i].name, calls[i].nr, EPERM);
			begin(&cases[n++], calls[i].name, calls[i].nr, ENOSYS);
			if (n >= AT_ONCE)
				bad += end(&cases[n - AT_ONCE]) + end(&cases[n - AT_ONCE + 1]);
		}
	for (unsigned i = n < AT_ONCE ? 0 : n - AT_ONCE + 2; i < n; i++)
		bad += end(&cases[i]);
	printf("%d cases bad\n", bad);
	return bad != 0;
}
