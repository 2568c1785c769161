// SPDX-License-Identifier: MIT
/*
 * POSIX message queues. A descriptor of one can be polled, and a call with a time long past is a try: ETIMEDOUT says
 * "would block", EAGAIN that the program set O_NONBLOCK. The kernel checks a given time also when it need not wait.
 */
#include "preload/io.h"

static const struct __kernel_timespec past; /* 1970 */

/* A time the kernel would refuse. */
static bool bad_time(const struct timespec *until)
{
	return until != NULL && (until->tv_sec < 0 || !ts_valid(until));
}

/* After a try failed with ETIMEDOUT. True: try again; else *rc is the result, MQ_KERNEL: the kernel must wait. */
enum { MQ_KERNEL = -4096 };

static bool mq_wait(struct io *io, long *rc)
{
	int next = gmp_io_wait(io);

	if (next == IO_RETRY)
		return true;
	*rc = next == IO_BLOCK ? MQ_KERNEL : next == EAGAIN ? -ETIMEDOUT : -next;
	return false;
}

static void mq_begin(struct io *io, mqd_t mq, uint8_t mode, const struct timespec *until)
{
	gmp_io_begin(io, mq, mode, false);
	io->blocking = true; /* the kernel tells */
	if (until != NULL)
		io->deadline = gmp_deadline_abs(CLOCK_REALTIME, until);
}

/* On a G. */
static ssize_t do_receive(mqd_t mq, char *msg, size_t n, unsigned *prio, const struct timespec *until)
{
	struct io io;
	long rc;

	stress_point();
	gmp_testcancel();
	if (bad_time(until))
		return fail(EINVAL);
	mq_begin(&io, mq, PD_READ, until);
	while ((rc = sys5(__NR_mq_timedreceive, io.ref.fd, msg, n, prio, &past)) == -ETIMEDOUT)
		if (!mq_wait(&io, &rc))
			break;
	if (rc == MQ_KERNEL)
		HANDOFF_RAW(rc, real.mq_timedreceive(io.ref.fd, msg, n, prio, until));
	return gmp_io_end(&io, rc);
}

static int do_mq_send(mqd_t mq, const char *msg, size_t n, unsigned prio, const struct timespec *until)
{
	struct io io;
	long rc;

	stress_point();
	gmp_testcancel();
	if (bad_time(until))
		return fail(EINVAL);
	mq_begin(&io, mq, PD_WRITE, until);
	while ((rc = sys5(__NR_mq_timedsend, io.ref.fd, msg, n, prio, &past)) == -ETIMEDOUT)
		if (!mq_wait(&io, &rc))
			break;
	if (rc == MQ_KERNEL)
		HANDOFF_RAW(rc, real.mq_timedsend(io.ref.fd, msg, n, prio, until));
	return (int)gmp_io_end(&io, rc);
}

int hook_mq_send(mqd_t mq, const char *msg, size_t n, unsigned prio)
{
	return on_g() ? do_mq_send(mq, msg, n, prio, NULL) : PASS(mq_send)(mq, msg, n, prio);
}

int hook_mq_timedsend(mqd_t mq, const char *msg, size_t n, unsigned prio, const struct timespec *until)
{
	return on_g() ? do_mq_send(mq, msg, n, prio, until) : PASS(mq_timedsend)(mq, msg, n, prio, until);
}

ssize_t hook_mq_receive(mqd_t mq, char *msg, size_t n, unsigned *prio)
{
	return on_g() ? do_receive(mq, msg, n, prio, NULL) : PASS(mq_receive)(mq, msg, n, prio);
}

ssize_t hook_mq_timedreceive(mqd_t mq, char *msg, size_t n, unsigned *prio, const struct timespec *until)
{
	return on_g() ? do_receive(mq, msg, n, prio, until) : PASS(mq_timedreceive)(mq, msg, n, prio, until);
}

int hook_mq_close(mqd_t mq)
{
	gmp_fd_forget(mq);
	return PASS(mq_close)(mq);
}
