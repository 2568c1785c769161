/* SPDX-License-Identifier: MIT */
/*
 * A program restricts its own system calls before or after its threads begin, by prctl, by seccomp(2), through
 * syscall(2). With a filter that ends the process for what libc's threads do not use, threads work all the same; so do
 * handlers and alternate stacks from before, pthread_exit of the main thread, and a filter that refuses nothing needed.
 * Each case is a process of its own.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "prog.h"

static const long kill_calls[] = { SYS_epoll_create1, SYS_membarrier, SYS_preadv2, SYS_rt_tgsigqueueinfo,
	SYS_epoll_pwait2, SYS_eventfd2, SYS_recvfrom };

/* Every call of the list but `n` of them is allowed: by jumps of all lengths, as libseccomp's lists are. */
static void restrict_calls(const long *calls, unsigned n, uint32_t action, int way)
{
	struct sock_filter code[32] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_STMT(BPF_ST, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 1, 0),	/* x32 */
		BPF_STMT(BPF_JMP | BPF_JA, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	unsigned len = 6;
	struct sock_fprog prog = { .filter = code };

	for (unsigned i = 0; i < n; i++, len++)
		code[len] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i],
							 (unsigned char)(n - i), 0);
	code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	prog.len = (unsigned short)len;
	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	if (way == 0)
		CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
	else if (way == 1)
		CHECK_EQ(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0), 0);
	else
		CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog), 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, pair[2], handled, destroyed;
static char alt[65536];
static pthread_key_t key;
static pthread_t main_thread;

static void on_usr(int sig, siginfo_t *info, void *uc)
{
	char here;

	CHECK(&here >= alt && &here < alt + sizeof(alt));
	handled++;
}

static void destroy(void *value)
{
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

static void *partner(void *arg)
{
	int me = (int)(intptr_t)arg;

	CHECK_EQ(pthread_setspecific(key, &turn), 0);
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&cond, &lock);
		turn = !me;
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *echo(void *arg)
{
	char c;

	while (read(pair[0], &c, 1) == 1)
		CHECK_EQ(write(pair[0], &c, 1), 1);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3] = { prog_start(partner, (void *)0), prog_start(partner, (void *)1), prog_start(echo, NULL) };

	for (char c = 0; c < 20; c++) {
		char got = -1;

		CHECK_EQ(write(pair[1], &c, 1), 1);
		CHECK(read(pair[1], &got, 1) == 1 && got == c);
	}
	CHECK_EQ(shutdown(pair[1], SHUT_RDWR), 0);
	for (int i = 0; i < 3; i++)
		prog_join(t[i]);
}

static void *last(void *arg)
{
	CHECK_EQ(pthread_join(main_thread, NULL), 0);
	exit(7);
}

static void prepare(void)
{
	struct sigaction act = { .sa_sigaction = on_usr, .sa_flags = SA_SIGINFO | SA_ONSTACK }, old;
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) };

	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
	CHECK(old.sa_sigaction == on_usr);
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	CHECK_EQ(pthread_key_create(&key, destroy), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
}

static void check_signals(void)
{
	struct sigaction old;
	stack_t ss;

	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(handled, 1);
	CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
	CHECK(old.sa_sigaction == on_usr && (old.sa_flags & SA_ONSTACK));
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK(ss.ss_sp == alt && ss.ss_size == sizeof(alt));
}

/* In a child: the case; its exit status is 7. */
static void killed_for(long call, int way)
{
	prepare();
	restrict_calls(&call, 1, SECCOMP_RET_KILL_PROCESS, way);
	threads();
	check_signals();
	CHECK_EQ(destroyed, 2);
	main_thread = pthread_self();
	prog_start(last, NULL);
	pthread_exit(NULL);
}

/* What is refused is nothing that the scheduler needs: threads are as ever. */
static void harmless(int way)
{
	static const long calls[] = { SYS_ptrace, SYS_mount, SYS_reboot, SYS_swapon, SYS_kexec_load, SYS_init_module };

	prepare();
	restrict_calls(calls, 6, SECCOMP_RET_KILL_PROCESS, way);
	prog_init();
	threads();
	check_signals();
	CHECK_EQ(destroyed, 2);
	exit(7);
}

static void *restrict_itself(void *arg)
{
	static const long calls[] = { SYS_getppid };

	restrict_calls(calls, 1, SECCOMP_RET_ERRNO | EPERM, 0);
	CHECK_EQ(syscall(SYS_getppid), -1);
	CHECK_EQ(errno, EPERM);
	return NULL;
}

/* A thread restricts itself alone. */
static void one_thread(void)
{
	prepare();
	prog_join(prog_start(restrict_itself, NULL));
	CHECK_EQ(syscall(SYS_getppid), getppid());
	exit(7);
}

static int bad;

static void expect(const char *what, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) {
		printf("%s: status %x\n", what, status);
		bad++;
	}
}

#define IN_CHILD(what, call)				\
	do {						\
		int status_;				\
		pid_t pid_ = fork();			\
							\
		CHECK(pid_ >= 0);			\
		if (pid_ == 0) {			\
			alarm(60);			\
			call;				\
		}					\
		CHECK_EQ(waitpid(pid_, &status_, 0), pid_); \
		expect(what, status_);			\
	} while (0)

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int way = 0; way < 3; way++) {
		for (unsigned i = 0; i < sizeof(kill_calls) / sizeof(kill_calls[0]); i++) {
			char what[64];

			snprintf(what, sizeof(what), "%ld kills, installed in way %d", kill_calls[i], way);
			IN_CHILD(what, killed_for(kill_calls[i], way));
		}
		IN_CHILD("a harmless filter", harmless(way));
	}
	IN_CHILD("one thread restricts itself", one_thread());
	prog_init();
	prog_join(prog_start(echo, NULL));
	return bad;
}
