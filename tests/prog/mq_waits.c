/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait in mq_receive and mq_send are known to the kernel: messages go to those that wait, the first first,
 * and the notification that mq_notify asked for is not sent for a message that somebody waited for, nor forgotten.
 */
#include "prog.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/wait.h>

static mqd_t mq;
static char got[2];
static volatile sig_atomic_t notified;

static void on_notify(int sig)
{
	notified++;
}

/* Kernel threads of this process that are in the system call nr. */
static int in_call(long nr)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	CHECK(d);
	while ((e = readdir(d))) {
		char path[300];
		FILE *f;
		long is;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/syscall", e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		n += fscanf(f, "%ld", &is) == 1 && is == nr;
		fclose(f);
	}
	closedir(d);
	return n;
}

static void wait_for(long nr, int n)
{
	while (in_call(nr) != n)
		usleep(1000);
}

static void *receives(void *arg)
{
	char msg[8];

	CHECK_EQ(mq_receive(mq, msg, sizeof(msg), NULL), 1);
	*(char *)arg = msg[0];
	return NULL;
}

/* In the kernel past all wrappers. */
static void *sleeps(void *arg)
{
	struct timespec ts = { .tv_nsec = 30000000 };

	prog_raw(SYS_nanosleep, (long)&ts, 0, 0, 0);
	return NULL;
}

/* Others wait for their turn meanwhile: the notification that was asked for must not get lost over that. */
static void sleep_unseen(void)
{
	pthread_t t[20];

	for (int i = 0; i < 20; i++)
		t[i] = prog_start(sleeps, NULL);
	for (int i = 0; i < 20; i++)
		prog_join(t[i]);
}

static int stop;

static void *sleeps_often(void *arg)
{
	struct timespec ts = { .tv_nsec = 3000000 };

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		prog_raw(SYS_nanosleep, (long)&ts, 0, 0, 0);
	return NULL;
}

/* In children of a process that may be in the middle of anything. */
static void notify_in_children(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };
	pthread_t t[20];
	int status;

	for (int i = 0; i < 20; i++)
		t[i] = prog_start(sleeps_often, NULL);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(30);
			_exit(mq_notify(mq, &ev) == 0 ? 7 : 1);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 20; i++)
		prog_join(t[i]);
}

static void *sends(void *arg)
{
	CHECK_EQ(mq_send(mq, arg, 1, 0), 0);
	return NULL;
}

int main(void)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct sigaction sa = { .sa_handler = on_notify, .sa_flags = SA_RESTART };
	pthread_t t[2];
	char name[32], msg[8];

	prog_init();
	snprintf(name, sizeof(name), "/gmp-mq-waits-%d", (int)getpid());
	mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	CHECK(mq != (mqd_t)-1);
	mq_unlink(name);
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	notify_in_children();
	CHECK_EQ(mq_notify(mq, &ev), 0);
	for (int i = 0; i < 2; i++) {
		t[i] = prog_start(receives, &got[i]);
		wait_for(SYS_mq_timedreceive, i + 1);
	}
	CHECK_EQ(mq_send(mq, "1", 1, 0), 0);
	prog_join(t[0]);
	CHECK_EQ(got[0], '1');
	CHECK_EQ(got[1], 0);
	CHECK_EQ(mq_send(mq, "2", 1, 0), 0);
	prog_join(t[1]);
	CHECK_EQ(got[1], '2');
	CHECK_EQ(notified, 0);
	puts("messages to those that wait, no notification");

	sleep_unseen();
	CHECK_EQ(mq_send(mq, "3", 1, 0), 0);
	while (!notified)
		usleep(1000);
	CHECK_EQ(mq_notify(mq, &ev), 0); /* the first has been used up */
	for (int i = 0; i < 2; i++) {
		t[i] = prog_start(sends, i == 0 ? "4" : "5");
		wait_for(SYS_mq_timedsend, i + 1);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(mq_receive(mq, msg, sizeof(msg), NULL), 1);
		CHECK_EQ(msg[0], '3' + i);
	}
	prog_join(t[0]);
	prog_join(t[1]);
	CHECK_EQ(notified, 1); /* the queue was never empty */
	puts("senders in their order");

	/* The second notification was asked for past the wrapper. */
	CHECK_EQ(syscall(SYS_mq_notify, mq, NULL), 0);
	CHECK_EQ(syscall(SYS_mq_notify, mq, &ev), 0);
	sleep_unseen();
	CHECK_EQ(mq_send(mq, "6", 1, 0), 0);
	while (notified != 2)
		usleep(1000);
	puts("notified again");
	return 0;
}
