/* SPDX-License-Identifier: MIT */
/*
 * Alternate signal stacks. A thread that has one may do without another: compiled code of some language
 * runtimes keeps data right below the stack pointer and asks for every handler to run on the alternate
 * stack. Nothing may be written there by whoever stops the thread. Registers are kept, vector registers
 * among them, however small that stack is. Handlers that run on it may wait and move to other kernel
 * threads, and nobody else's handler runs over them. sigaltstack is as the manual says.
 */
#include "prog.h"

#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>

#define AUTODISARM	((int)(1u << 31))	/* SS_AUTODISARM */
#define HOGS		3
#define STACK		(64 * 1024)

void __longjmp_chk(jmp_buf env, int val) __attribute__((noreturn));
int __sigaction(int sig, const struct sigaction *act, struct sigaction *old); /* what Erlang's own sigaction calls */

static int done, started;

static void *set_altstack(size_t size, int flags)
{
	stack_t ss = { .ss_sp = malloc(size), .ss_size = size, .ss_flags = flags };

	CHECK(ss.ss_sp);
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	return ss.ss_sp;
}

static void set_handler(int sig, void (*fn)(int, siginfo_t *, void *), int flags, int blocks)
{
	struct sigaction sa = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	sigemptyset(&sa.sa_mask);
	if (blocks)
		sigaddset(&sa.sa_mask, blocks);
	CHECK_EQ(__sigaction(sig, &sa, NULL), 0);
}

/* Long enough for a hog to be stopped again and again, however many processors there are. */
static void let_run(pthread_t *ts, int sig)
{
	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < HOGS)
		sched_yield();
	for (int i = 0; i < 20; i++) {
		usleep(3000);
		for (int k = 0; sig != 0 && k < HOGS; k++)
			CHECK_EQ(pthread_kill(ts[k], sig), 0);
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
}

/* --- nothing below the stack pointer; registers --- */

#ifdef __x86_64__
#define HEAP_WORDS	8192

/* The stack pointer is in the middle of an array while it waits. */
static void *has_no_stack(void *arg)
{
	(void)arg;
	uint64_t *heap = malloc(HEAP_WORDS * sizeof(*heap));

	CHECK(heap);
	set_altstack(STACK, 0);
	for (int i = 0; i < HEAP_WORDS; i++)
		heap[i] = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
	__atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
	__asm__ volatile("mov %%rsp, %%r12\n\t"
			 "mov %0, %%rsp\n"
			 "1:	pause\n\t"
			 "cmpl $0, (%1)\n\t"
			 "je 1b\n\t"
			 "mov %%r12, %%rsp"
			 : : "r"(heap + HEAP_WORDS / 2), "r"(&done) : "r12", "memory", "cc");
	for (int i = 0; i < HEAP_WORDS; i++)
		CHECK_EQ(heap[i], 0x9e3779b97f4a7c15u * (uint64_t)(i + 1));
	free(heap);
	return NULL;
}

/* All of a vector register stays, whatever it is stopped with. */
__attribute__((target("avx2"))) static void *has_vectors(void *arg)
{
	uint64_t in[2][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } }, out[2][4];

	(void)arg;
	set_altstack(STACK, 0);
	__atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
	__asm__ volatile("vmovdqu %2, %%ymm7\n\t"
			 "vmovdqu %3, %%ymm15\n"
			 "1:	pause\n\t"
			 "cmpl $0, (%4)\n\t"
			 "je 1b\n\t"
			 "vmovdqu %%ymm7, %0\n\t"
			 "vmovdqu %%ymm15, %1\n\t"
			 "vzeroupper"
			 : "=m"(out[0]), "=m"(out[1]) : "m"(in[0]), "m"(in[1]), "r"(&done)
			 : "ymm7", "ymm15", "memory", "cc");
	CHECK_EQ(memcmp(in, out, sizeof(in)), 0);
	return NULL;
}
#endif

struct hog {
	size_t size;
	int flags;
};

static void *computes(void *arg)
{
	struct hog *h = arg;

	set_altstack(h->size, h->flags);
	__atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		volatile double start = 1.0;
		double a = start, b = start + 1, c = start + 2, d = start + 3;
		uint64_t x = 1, y = 2;

		for (int i = 0; i < 20000; i++) {
			a += 1;
			b += 2;
			c += 3;
			d += 4;
			x = x * 6364136223846793005u + 1;
			y += x ^ y >> 3;
		}
		CHECK(a == 20001 && b == 40002 && c == 60003 && d == 80004);
		CHECK_EQ(y, 1260018847521330072u);
	}
	return NULL;
}

static void run(void *(*fn)(void *), struct hog *h, int sig)
{
	pthread_t ts[HOGS];

	done = started = 0;
	for (int i = 0; i < HOGS; i++)
		ts[i] = prog_start(fn, h);
	let_run(ts, sig);
	for (int i = 0; i < HOGS; i++)
		prog_join(ts[i]);
}

/* --- handlers that wait --- */

#define STORM_THREADS	6
#define STORM_SIGNALS	300

static sem_t turn;
static __thread char *my_stack;
static __thread volatile int handled;

static void storm_handler(int sig, siginfo_t *info, void *uc)
{
	volatile unsigned char mine[2048];
	unsigned char mark = (unsigned char)(gettid() * 7 + sig);
	stack_t ss;
	int err = errno;

	(void)info;
	(void)uc;
	for (size_t i = 0; i < sizeof(mine); i++)
		mine[i] = mark;
	CHECK((char *)&mine > my_stack && (char *)&mine < my_stack + STACK);
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK_EQ(ss.ss_flags, SS_ONSTACK);
	CHECK(ss.ss_sp == my_stack && ss.ss_size == STACK);
	CHECK_FAILS(sigaltstack(&ss, NULL), EPERM);
	if (handled % 8 == 0)
		usleep(200);
	else
		sched_yield();
	for (size_t i = 0; i < sizeof(mine); i++)
		CHECK_EQ(mine[i], mark);
	handled++;
	errno = err;
}

static void *storm(void *arg)
{
	(void)arg;
	my_stack = set_altstack(STACK, 0);
	__atomic_add_fetch(&started, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		if (handled % 2)
			sched_yield();
		else if (sem_trywait(&turn) == 0)
			sem_post(&turn);
	}
	CHECK(handled > 0);
	return NULL;
}

static void storms(void)
{
	pthread_t ts[STORM_THREADS];

	set_handler(SIGUSR1, storm_handler, SA_ONSTACK, 0);
	set_handler(SIGUSR2, storm_handler, SA_ONSTACK | SA_RESTART, 0);
	CHECK_EQ(sem_init(&turn, 0, 1), 0);
	done = started = 0;
	for (int i = 0; i < STORM_THREADS; i++)
		ts[i] = prog_start(storm, NULL);
	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < STORM_THREADS)
		sched_yield();
	for (int i = 0; i < STORM_SIGNALS; i++) {
		for (int k = 0; k < STORM_THREADS; k++)
			CHECK_EQ(pthread_kill(ts[k], (i + k) % 3 ? SIGUSR1 : SIGUSR2), 0);
		if (i % 16 == 0)
			usleep(100);
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < STORM_THREADS; i++)
		prog_join(ts[i]);
}

/* --- what the manual says --- */

static char *stack_of_rules;
static stack_t other_stack;
static sigjmp_buf env;
static volatile char order[8];
static volatile int norder;

static void on_it(int sig, siginfo_t *info, void *uc)
{
	char here;

	(void)info;
	CHECK(&here > stack_of_rules && &here < stack_of_rules + STACK);
	CHECK((char *)((ucontext_t *)uc)->uc_stack.ss_sp == stack_of_rules);
	order[norder++] = sig == SIGUSR1 ? '1' : '2';
}

static void not_on_it(int sig, siginfo_t *info, void *uc)
{
	char here;

	(void)sig;
	(void)info;
	(void)uc;
	CHECK(&here < stack_of_rules || &here >= stack_of_rules + STACK);
	/* until it returns */
	CHECK_EQ(sigaltstack(&other_stack, NULL), 0);
	norder++;
}

static void disarmed(int sig, siginfo_t *info, void *uc)
{
	stack_t ss;

	(void)sig;
	(void)info;
	CHECK_EQ(((ucontext_t *)uc)->uc_stack.ss_flags, AUTODISARM);
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK_EQ(ss.ss_flags, SS_DISABLE);
	CHECK_EQ(sigaltstack(&other_stack, NULL), 0);
	norder++;
}

static void jumps(int sig, siginfo_t *info, void *uc)
{
	(void)info;
	(void)uc;
	if (sig == SIGUSR1)
		siglongjmp(env, 1);
	__longjmp_chk(env, 2);
}

static void both_at_once(void)
{
	sigset_t two, old;

	sigemptyset(&two);
	sigaddset(&two, SIGUSR1);
	sigaddset(&two, SIGUSR2);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &two, &old), 0);
	CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	CHECK_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
	norder = 0;
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	CHECK_EQ(norder, 2);
	/* the first one's handler blocks the second */
	CHECK(order[0] == '1' && order[1] == '2');
}

static void *rules(void *arg)
{
	stack_t ss, bad = { .ss_sp = &ss, .ss_size = 100 };
	struct sigaction sa;

	(void)arg;
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK_EQ(ss.ss_flags, SS_DISABLE);
	CHECK_FAILS(sigaltstack(&bad, NULL), ENOMEM);
	bad = (stack_t){ .ss_sp = &ss, .ss_size = STACK, .ss_flags = 8 };
	CHECK_FAILS(sigaltstack(&bad, NULL), EINVAL);
	CHECK_FAILS(sigaltstack((stack_t *)16, NULL), EFAULT);
	CHECK_FAILS(sigaltstack(NULL, (stack_t *)16), EFAULT);

	stack_of_rules = set_altstack(STACK, 0);
	other_stack = (stack_t){ .ss_sp = malloc(STACK), .ss_size = STACK };
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK(ss.ss_sp == stack_of_rules && ss.ss_size == STACK && ss.ss_flags == 0);

	set_handler(SIGUSR1, on_it, SA_ONSTACK, SIGUSR2);
	set_handler(SIGUSR2, on_it, SA_ONSTACK, 0);
	CHECK_EQ(sigaction(SIGUSR1, NULL, &sa), 0);
	CHECK_EQ(sigismember(&sa.sa_mask, SIGUSR1), 0);
	CHECK_EQ(sigismember(&sa.sa_mask, SIGUSR2), 1);
	CHECK(sa.sa_flags & SA_ONSTACK);
	both_at_once();

	set_handler(SIGUSR1, not_on_it, 0, 0);
	norder = 0;
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(norder, 1);
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK(ss.ss_sp == stack_of_rules);

	for (int i = 0; i < 4; i++) {
		set_handler(SIGUSR1, jumps, SA_ONSTACK, 0);
		set_handler(SIGUSR2, jumps, SA_ONSTACK | SA_NODEFER, 0);
		switch (sigsetjmp(env, 1)) {
		case 0:
			raise(i % 2 ? SIGUSR1 : SIGUSR2);
			CHECK_EQ(0, 1);
			break;
		case 1:
			CHECK(i % 2);
			break;
		default:
			CHECK(!(i % 2));
		}
		CHECK_EQ(sigaltstack(NULL, &ss), 0);
		CHECK_EQ(ss.ss_flags, 0);
	}

	ss = (stack_t){ .ss_sp = stack_of_rules, .ss_size = STACK, .ss_flags = AUTODISARM };
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	set_handler(SIGUSR1, disarmed, SA_ONSTACK, 0);
	norder = 0;
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(norder, 1);
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK_EQ(ss.ss_flags, AUTODISARM);
	CHECK(ss.ss_sp == stack_of_rules);

	ss.ss_flags = SS_DISABLE;
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	CHECK_EQ(sigaltstack(NULL, &ss), 0);
	CHECK_EQ(ss.ss_flags, SS_DISABLE);
	return NULL;
}

static void any(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	(void)uc;
}

/* A handler whose frame does not fit ends the process. */
static void too_small(size_t least)
{
	pid_t pid;
	int status;

	if (least <= 2048)
		return;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		set_altstack(2048, 0);
		set_handler(SIGUSR1, any, SA_ONSTACK, 0);
		raise(SIGUSR1);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
	size_t least = getauxval(AT_MINSIGSTKSZ);

	prog_init();
#ifdef __x86_64__
	set_handler(SIGUSR1, any, SA_ONSTACK, 0);
	run(has_no_stack, NULL, 0);
	run(has_no_stack, NULL, SIGUSR1);
	if (__builtin_cpu_supports("avx2"))
		run(has_vectors, NULL, SIGUSR1);
#endif
	puts("heap and vectors ok");
	run(computes, &(struct hog){ STACK, 0 }, SIGUSR1);
	run(computes, &(struct hog){ STACK, AUTODISARM }, SIGUSR1);
	run(computes, &(struct hog){ least > 2048 ? least : 2048, 0 }, 0);
	run(computes, &(struct hog){ 2048, 0 }, 0);
	puts("registers ok");
	storms();
	puts("storm ok");
	prog_join(prog_start(rules, NULL));
	rules(NULL);
	puts("rules ok");
	too_small(least);
	puts("small ok");
	return 0;
}
