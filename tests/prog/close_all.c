/* SPDX-License-Identifier: MIT */
/*
 * A daemon's habits: descriptors start at the lowest free number, closing 3 up to the limit,
 * close_range and closefrom while threads sleep and read; afterwards I/O, sleeping and new threads
 * still work, and every number is the program's.
 */
#include "prog.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/resource.h>

static sem_t ready;
static int pipefd[2];

static void *reads(void *arg)
{
	char c;

	sem_post(&ready);
	CHECK_EQ(read(pipefd[0], &c, 1), 1);
	prog_nap_ms(2);
	return arg;
}

static void *sleeps(void *arg)
{
	sem_post(&ready);
	prog_nap_ms(20);
	return arg;
}

/* Until a time on the real-time clock. */
static void *waits_until(void *arg)
{
	struct timespec until = prog_after_ms(CLOCK_REALTIME, 20);
	sem_t never;

	CHECK_EQ(sem_init(&never, 0, 0), 0);
	sem_post(&ready);
	CHECK_FAILS(sem_timedwait(&never, &until), ETIMEDOUT);
	return arg;
}

/* Every number is the program's, whatever had it. */
static void use_all(int from, int limit)
{
	for (int to = from + 1; to < limit; to++) {
		CHECK_EQ(dup2(from, to), to);
		CHECK_EQ(close(to), 0);
	}
}

static void close_from(int first, int how)
{
	struct rlimit lim;

	switch (how) {
	case 0:
		CHECK_EQ(getrlimit(RLIMIT_NOFILE, &lim), 0);
		for (int fd = first; fd < (int)lim.rlim_cur && fd < 100000; fd++)
			close(fd);
		break;
	case 1:
		CHECK_EQ(close_range((unsigned int)first, ~0u, 0), 0);
		break;
	default:
		closefrom(first);
	}
}

int main(void)
{
	struct rlimit lim;
	pthread_t ts[4];

	prog_init();
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &lim), 0);
	if (lim.rlim_cur > 1024)
		lim.rlim_cur = 1024;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lim), 0);
	closefrom(3);
	for (int how = 0; how < 3; how++) {
		CHECK_EQ(open("/dev/null", O_RDWR), 3);
		close(3);
		CHECK_EQ(pipe(pipefd), 0);
		CHECK_EQ(pipefd[0], 3);
		CHECK_EQ(pipefd[1], 4);
		for (int i = 0; i < 4; i++)
			ts[i] = prog_start(i == 3 ? waits_until : i & 1 ? sleeps : reads, NULL);
		for (int i = 0; i < 4; i++)
			sem_wait(&ready);
		CHECK_EQ(open("/dev/null", O_RDWR), 5);
		prog_nap_ms(2);
		close_from(5, how);
		CHECK_FAILS(close(5), EBADF);
		CHECK_FAILS(fcntl(1000, F_GETFD), EBADF);
		CHECK_EQ(write(pipefd[1], "ab", 2), 2);
		for (int i = 0; i < 4; i++)
			prog_join(ts[i]);
		use_all(pipefd[1], (int)lim.rlim_cur);
		close_from(3, how);
		printf("%d ok\n", how);
	}
	return 0;
}
