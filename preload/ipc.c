// SPDX-License-Identifier: MIT
/*
 * POSIX message queues. A thread waits in the kernel's own queue of receivers or senders, though the descriptor can be
 * polled: the kernel hands a message to the one with the highest priority that has waited longest, and sends the
 * notification that some process has asked for by mq_notify only if nobody waits. Times are absolute, so a call that
 * goes on is simply made again.
 */
#include "preload/io.h"

HANDOFF(int, mq_send, (mqd_t mq, const char *msg, size_t n, unsigned prio), (mq, msg, n, prio))
HANDOFF(int, mq_timedsend, (mqd_t mq, const char *msg, size_t n, unsigned prio, const struct timespec *until),
	(mq, msg, n, prio, until))
HANDOFF(ssize_t, mq_receive, (mqd_t mq, char *msg, size_t n, unsigned *prio), (mq, msg, n, prio))
HANDOFF(ssize_t, mq_timedreceive, (mqd_t mq, char *msg, size_t n, unsigned *prio, const struct timespec *until),
	(mq, msg, n, prio, until))

/* ev NULL: no more. */
int hook_mq_notify(mqd_t mq, const struct sigevent *ev)
{
	if (ev != NULL)
		gmp_keep_files();
	return PASS(mq_notify)(mq, ev);
}

int hook_mq_close(mqd_t mq)
{
	gmp_fd_forget(mq);
	return PASS(mq_close)(mq);
}
