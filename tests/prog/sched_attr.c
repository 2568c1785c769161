/* SPDX-License-Identifier: MIT */
/*
 * sched_setattr(2) and sched_getattr(2), which libc does not wrap: by the thread's own gettid() and by that of another.
 * What GLib does in each thread of a pool: get what the creator has, set it in the new thread.
 */
#include <sys/resource.h>

#include "prog.h"

struct attr { /* VER0 */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static struct attr creators;
static pthread_barrier_t barrier;
static int waiter_tid;

static struct attr get(int tid)
{
	struct attr a = {0};

	CHECK_EQ(syscall(SYS_sched_getattr, tid, &a, sizeof(a), 0), 0);
	CHECK_EQ(a.size, sizeof(a));
	return a;
}

static long set(int tid, const struct attr *a)
{
	return syscall(SYS_sched_setattr, tid, a, 0);
}

static int me(void)
{
	return (int)syscall(SYS_gettid);
}

static void *pooled(void *arg)
{
	(void)arg;
	CHECK_EQ(set(me(), &creators), 0);
	CHECK_EQ(set(0, &creators), 0);
	CHECK_EQ(get(me()).policy, creators.policy);
	CHECK_EQ(get(me()).nice, creators.nice);
	return NULL;
}

static void *inherits(void *arg)
{
	(void)arg;
	CHECK_EQ(get(0).nice, creators.nice + 2);
	CHECK_EQ(get(me()).policy, SCHED_BATCH);
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), creators.nice + 2);
	return NULL;
}

static void *changes(void *arg)
{
	struct attr a = creators;
	struct sched_param param;
	int policy;

	(void)arg;
	a.policy = SCHED_BATCH;
	a.nice += 2;
	CHECK_EQ(set(me(), &a), 0);
	CHECK_EQ(get(me()).policy, SCHED_BATCH);
	CHECK_EQ(get(0).nice, creators.nice + 2);
	CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)me()), creators.nice + 2);
	CHECK_EQ(sched_getscheduler(0), SCHED_BATCH);
	CHECK_EQ(pthread_getschedparam(pthread_self(), &policy, &param), 0);
	CHECK_EQ(policy, SCHED_BATCH);
	prog_join(prog_start(inherits, NULL));
	return NULL;
}

static void *waits(void *arg)
{
	(void)arg;
	waiter_tid = me();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier); /* main sets and gets */
	CHECK_EQ(get(0).policy, SCHED_BATCH);
	CHECK_EQ(sched_getscheduler(0), SCHED_BATCH);
	return NULL;
}

int main(void)
{
	struct attr a;
	pthread_t th;
	char *nowhere = NULL;

	prog_init();
	creators = get(me());
	for (int i = 0; i < 20; i++)
		prog_join(prog_start(pooled, NULL));
	CHECK_EQ(set(me(), &creators), 0);
	prog_join(prog_start(changes, NULL));
	prog_join(prog_start(pooled, NULL)); /* what ran where changes() did has none of it */

	pthread_barrier_init(&barrier, NULL, 2);
	th = prog_start(waits, NULL);
	pthread_barrier_wait(&barrier);
	a = creators;
	a.policy = SCHED_BATCH;
	CHECK_EQ(get(waiter_tid).policy, creators.policy);
	CHECK_EQ(set(waiter_tid, &a), 0);
	CHECK_EQ(get(waiter_tid).policy, SCHED_BATCH);
	CHECK_EQ(get(me()).policy, creators.policy);
	pthread_barrier_wait(&barrier);
	prog_join(th);

	a.policy = 77;
	CHECK_FAILS(set(me(), &a), EINVAL);
	a = creators;
	a.size = 40;
	CHECK_FAILS(set(me(), &a), E2BIG);
	CHECK_FAILS(syscall(SYS_sched_setattr, 0, nowhere, 0), EINVAL);
	CHECK_FAILS(syscall(SYS_sched_setattr, 0, (void *)8, 0), EFAULT);
	CHECK_FAILS(syscall(SYS_sched_setattr, 0, &creators, 1), EINVAL);
	puts("ok");
	return 0;
}
