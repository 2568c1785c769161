/* SPDX-License-Identifier: MIT */
/*
 * Threads that block in the kernel where no library function is called: a futex, a pipe and a sleep by the system call
 * instruction, a page fault that another thread resolves (userfaultfd). And threads that cannot be stopped: they spend
 * their time inside libc, or on a stack of their own making. The others go on meanwhile, with one processor as well,
 * and the blocked calls see no EINTR.
 */
#include "prog.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <ucontext.h>

static int word, fds[2];
static volatile int stop, running, entered;
static char *page;
static ucontext_t home, away;

static void *futex_waits(void *arg)
{
	running = 1;
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0) {
		long rc = prog_raw(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 0, 0);

		CHECK(rc == 0 || rc == -EAGAIN);
	}
	return arg;
}

static void *futex_wakes(void *arg)
{
	prog_nap_ms(20);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	prog_raw(SYS_futex, (long)&word, FUTEX_WAKE_PRIVATE, 100, 0);
	return arg;
}

static void *pipe_reads(void *arg)
{
	char c = 0;

	running = 1;
	CHECK_EQ(prog_raw(SYS_read, fds[0], (long)&c, 1, 0), 1);
	CHECK_EQ(c, 'x');
	return arg;
}

static void *pipe_writes(void *arg)
{
	prog_nap_ms(20);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	return arg;
}

static void *sleeps(void *arg)
{
	struct timespec ts = { .tv_nsec = 500000 };

	running = 1;
	while (!stop) {
		long rc = prog_raw(SYS_nanosleep, (long)&ts, 0, 0, 0);

		/*
		 * -EINTR: the thread was asked to yield in the moment in which it went to sleep past the hooks. The
		 * kernel restarts no such call, and nobody else can: a limit (README).
		 */
		CHECK(rc == 0 || (rc == -EINTR && getenv("GMPSHIM_EXPECT_LIVE") != NULL));
	}
	return arg;
}

static void *stops(void *arg)
{
	prog_nap_ms(20);
	stop = 1;
	return arg;
}

static void *faults(void *arg)
{
	running = 1;
	CHECK_EQ(*(volatile char *)page, 'p');
	return arg;
}

static void *resolves(void *arg)
{
	int fd = (int)(long)arg;
	static char source[4096] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)source, .len = 4096 };

	memset(source, 'p', sizeof(source));
	prog_nap_ms(20);
	CHECK_EQ(ioctl(fd, UFFDIO_COPY, &copy), 0);
	return NULL;
}

/* True when userfaultfd can be had. */
static int fault_page(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range.len = 4096, .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t t;

	if (fd < 0)
		return 0;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	reg.range.start = (uintptr_t)page;
	CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
	CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	t = prog_start(faults, NULL);
	prog_join(prog_start(resolves, (void *)(long)fd));
	prog_join(t);
	close(fd);
	return 1;
}

/* Nearly all of its time in libc. */
static void *clears(void *arg)
{
	size_t size = (size_t)8 << 20;
	char *mem = malloc(size);

	running = 1;
	while (!stop)
		memset(mem, stop, size);
	free(mem);
	return arg;
}

static void elsewhere(void)
{
	entered = 1;
	while (!stop)
		;
}

/* On a stack that the library knows nothing of. */
static void *leaves_its_stack(void *arg)
{
	char *stack = malloc(65536);

	CHECK_EQ(getcontext(&away), 0);
	away.uc_stack.ss_sp = stack;
	away.uc_stack.ss_size = 65536;
	away.uc_link = &home;
	makecontext(&away, elsewhere, 0);
	running = 1;
	CHECK_EQ(swapcontext(&home, &away), 0);
	free(stack);
	return arg;
}

static void both(void *(*blocks)(void *), int n, void *(*ends)(void *))
{
	pthread_t ts[4];
	int64_t begin = prog_now_ns(CLOCK_MONOTONIC);

	stop = running = 0;
	for (int i = 0; i < n; i++)
		ts[i] = prog_start(blocks, NULL);
	while (!running)
		sched_yield();
	prog_join(prog_start(ends, NULL));
	for (int i = 0; i < n; i++)
		prog_join(ts[i]);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - begin < INT64_C(20000000000));
}

int main(void)
{
	prog_init();
	both(futex_waits, 3, futex_wakes);
	puts("futex ok");
	CHECK_EQ(pipe(fds), 0);
	both(pipe_reads, 1, pipe_writes);
	puts("pipe ok");
	both(sleeps, 3, stops);
	puts("sleep ok");
	fault_page();
	puts("page fault ok");
	both(clears, 2, stops);
	puts("inside libc ok");
	both(leaves_its_stack, 1, stops);
	CHECK(entered);
	puts("own stack ok");
	return 0;
}
