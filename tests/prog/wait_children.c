/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait in the kernel for other things than descriptors: waitpid, flock and fcntl
 * locks, SysV and POSIX queues, FIFOs opened from both sides. Others run on, even when many wait.
 */
#include "prog.h"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int waiters_done;
static int release[2];
static char dir[] = "/tmp/gmpshim-wait-XXXXXX";

static void *waits_child(void *arg)
{
	int code = (int)(long)arg, status;
	pid_t pid = fork();
	char c;

	CHECK(pid >= 0);
	if (pid == 0) {
		close(release[1]);
		CHECK_EQ(read(release[0], &c, 1), 0);	/* until the parent closes its end */
		_exit(code);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), code);
	__atomic_add_fetch(&waiters_done, 1, __ATOMIC_RELAXED);
	return arg;
}

static void *yields(void *arg)
{
	for (int i = 0; i < 200; i++)
		sched_yield();
	return arg;
}

static void path_in(char *buf, size_t size, const char *name)
{
	CHECK(snprintf(buf, size, "%s/%s", dir, name) < (int)size);
}

static void *flocks(void *arg)
{
	char path[100];
	int fd;

	path_in(path, sizeof(path), "lock");
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(flock(fd, LOCK_EX), 0);
		CHECK_EQ(++*(int *)arg, 1);
		sched_yield();
		CHECK_EQ(--*(int *)arg, 0);
		CHECK_EQ(flock(fd, LOCK_UN), 0);
	}
	close(fd);
	return NULL;
}

static void *opens_fifo(void *arg)
{
	char path[100], c;
	int fd;

	path_in(path, sizeof(path), "fifo");
	fd = open(path, O_RDONLY);	/* blocks until there is a writer */
	CHECK(fd >= 0);
	CHECK_EQ(read(fd, &c, 1), 1);
	CHECK_EQ(c, 'f');
	CHECK_EQ(read(fd, &c, 1), 0);
	close(fd);
	return arg;
}

struct message {
	long type;
	char text[32];
};

static void *receives(void *arg)
{
	struct message m;

	CHECK_EQ(msgrcv(*(int *)arg, &m, sizeof(m.text), 7, 0), sizeof(m.text));
	CHECK(!strcmp(m.text, "sysv"));
	return arg;
}

static void *downs(void *arg)
{
	struct sembuf op = { .sem_op = -1 };

	CHECK_EQ(semop(*(int *)arg, &op, 1), 0);
	return arg;
}

static void *mq_receives(void *arg)
{
	char buf[64];

	CHECK_EQ(mq_receive(*(mqd_t *)arg, buf, sizeof(buf), NULL), 5);
	CHECK(!memcmp(buf, "posix", 5));
	return arg;
}

int main(void)
{
	struct mq_attr mqattr = { .mq_maxmsg = 2, .mq_msgsize = 64 };
	struct message m = { .type = 7, .text = "sysv" };
	struct sembuf up = { .sem_op = 3 };
	struct timespec past = { 0 };
	char path[100], name[64];
	pthread_t ts[20], t;
	int fd, id, holders = 0;
	mqd_t mq;

	prog_init();
	CHECK(mkdtemp(dir));
	CHECK_EQ(pipe(release), 0);
	for (long i = 0; i < 20; i++)
		ts[i] = prog_start(waits_child, (void *)(i + 1));
	prog_join(prog_start(yields, NULL));
	prog_nap_ms(5);
	prog_join(prog_start(yields, NULL));
	CHECK_EQ(waiters_done, 0);
	close(release[1]);
	for (int i = 0; i < 20; i++)
		prog_join(ts[i]);
	close(release[0]);
	puts("waitpid ok");

	for (int i = 0; i < 4; i++)
		ts[i] = prog_start(flocks, &holders);
	for (int i = 0; i < 4; i++)
		prog_join(ts[i]);
	path_in(path, sizeof(path), "lock");
	CHECK_EQ(unlink(path), 0);
	puts("flock ok");

	path_in(path, sizeof(path), "fifo");
	CHECK_EQ(mkfifo(path, 0600), 0);
	t = prog_start(opens_fifo, NULL);
	prog_nap_ms(2);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "f", 1), 1);
	close(fd);
	prog_join(t);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(dir), 0);
	puts("fifo ok");

	id = msgget(IPC_PRIVATE, 0600);
	if (id >= 0) {
		t = prog_start(receives, &id);
		prog_nap_ms(2);
		CHECK_EQ(msgsnd(id, &m, sizeof(m.text), 0), 0);
		prog_join(t);
		CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
	}
	id = semget(IPC_PRIVATE, 1, 0600);
	if (id >= 0) {
		for (int i = 0; i < 3; i++)
			ts[i] = prog_start(downs, &id);
		prog_nap_ms(2);
		CHECK_EQ(semop(id, &up, 1), 0);
		for (int i = 0; i < 3; i++)
			prog_join(ts[i]);
		CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
	}
	puts("sysv ok");

	snprintf(name, sizeof(name), "/gmpshim-test-%d", (int)getpid());
	mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &mqattr);
	if (mq != (mqd_t)-1) {		/* a kernel may be built without */
		char buf[64];

		CHECK_FAILS(mq_timedreceive(mq, buf, sizeof(buf), NULL, &past), ETIMEDOUT);
		t = prog_start(mq_receives, &mq);
		prog_nap_ms(2);
		CHECK_EQ(mq_send(mq, "posix", 5, 0), 0);
		prog_join(t);
		CHECK_EQ(mq_close(mq), 0);
		CHECK_EQ(mq_unlink(name), 0);
	}
	puts("mqueue ok");
	return 0;
}
