/* SPDX-License-Identifier: MIT */
/*
 * System calls that take a thread's number, by its own gettid() and by that of another thread: what belongs to a kernel
 * thread is that of the thread which the number names.
 */
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/perf_event.h>
#include <sys/fsuid.h>

#include "prog.h"

int capset(cap_user_header_t head, const cap_user_data_t data);
int capget(cap_user_header_t head, cap_user_data_t data);

#define PRIO IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)

static pthread_barrier_t barrier;
static int waiter_tid;

static int me(void)
{
	return (int)syscall(SYS_gettid);
}

static void *own(void *arg)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, me()};
	struct __user_cap_data_struct data[2];
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.exclude_kernel = 1,
	};
	uint64_t count;
	int fd, none;

	CHECK_EQ(capget(&head, data), 0);
	CHECK_EQ(capset(&head, data), 0);
	CHECK_EQ(syscall(SYS_capget, &head, data), 0);
	CHECK_EQ(syscall(SYS_capset, &head, data), 0);
	CHECK_EQ(head.pid, me());
	head.version = 1;
	CHECK_FAILS(capget(&head, data), EINVAL);
	CHECK_EQ(head.version, _LINUX_CAPABILITY_VERSION_3);
	head.pid = 1 << 29;
	CHECK_FAILS(capget(&head, data), ESRCH);
	CHECK_FAILS(capset(&head, data), EPERM);

	CHECK_EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, me(), PRIO), 0);
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, me()), PRIO);
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), PRIO);

	/* no counter: not allowed, or none on this machine; the same for both numbers */
	none = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	fd = (int)syscall(SYS_perf_event_open, &attr, me(), -1, -1, 0);
	CHECK_EQ(fd < 0, none < 0);
	if (fd >= 0) {
		for (int i = 0; i < 50; i++)
			sched_yield();
		CHECK_EQ(read(fd, &count, sizeof(count)), sizeof(count));
		CHECK(count > 0);
		close(fd);
		close(none);
	}
	return arg;
}

static void *waits(void *arg)
{
	waiter_tid = me();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier); /* main sets and gets */
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), PRIO);
	return arg;
}

static void *other_files(void *arg)
{
	setfsuid(geteuid() == 0 ? 65534 : geteuid());
	return arg;
}

static void *fresh(void *arg)
{
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, me()), *(int *)arg);
	return NULL;
}

int main(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	pthread_t th;
	int prio;

	prog_init();
	prio = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	prog_join(prog_start(own, NULL));
	pthread_barrier_init(&barrier, NULL, 2);
	th = prog_start(waits, NULL);
	pthread_barrier_wait(&barrier);
	head.pid = waiter_tid;
	CHECK_EQ(capget(&head, data), 0);
	CHECK_EQ(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, waiter_tid, PRIO), 0);
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, waiter_tid), PRIO);
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, me()), prio);
	pthread_barrier_wait(&barrier);
	prog_join(th);
	prog_join(prog_start(fresh, &prio));
	for (int i = 0; i < 20; i++) { /* who joins does not go on where the other was */
		prog_join(prog_start(other_files, NULL));
		CHECK_EQ(setfsuid((uid_t)-1), geteuid());
	}
	CHECK_FAILS(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 1 << 29, PRIO), ESRCH);
	puts("ok");
	return 0;
}
