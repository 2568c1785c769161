// SPDX-License-Identifier: MIT
/*
 * What the hooks on descriptors share. A blocking call is a loop:
 *
 *	gmp_io_begin; for (;;) { try without blocking; not EAGAIN: break; gmp_io_wait says what to do } gmp_io_end
 *
 * Tries are raw system calls: the hook has tested for cancellation, and libc's wrapper would unwind past gmp_io_end.
 * Calls that may block are libc's, by HANDOFF_CALL. No hook ever sets O_NONBLOCK on anything.
 */
#pragma once
#include <limits.h>

#include "core/netpoll.h"
#include "preload/preload.h"

#define IO_MAX ((size_t)0x7ffff000) /* MAX_RW_COUNT: what one call transfers at most */

/*
 * poll_desc.kind: an enum pd_kind in the low bits, and what the kernel has said about this file. PDK_PIPE: pipe or
 * FIFO; PDK_OTHER: an anonymous inode such as an eventfd, or the master of a pty; PDK_FILE: all that the kernel alone
 * knows how to wait for, character devices included (a tty with VMIN 0 returns without input, a background one stops
 * the process).
 */
enum {
	KIND_MASK = 0x0f,
	KIND_NO_READ = 0x10,   /* RWF_NOWAIT does not work for reads */
	KIND_NO_WRITE = 0x20,  /* ... for writes */
	KIND_SEQPACKET = 0x40, /* a socket on which write() means MSG_EOR */
	KIND_LISTENER = 0x80,  /* a listening socket */
	KIND_STREAM = 0x100,   /* TCP, or a pipe of this process: a short read has emptied it (gmp_io_short) */
};

/* One blocking call on one descriptor. */
struct io {
	struct poll_ref ref; /* ref.fd is what the kernel gets: it changes when the program closes the number */
	int fd;
	uint8_t mode;	 /* PD_READ or PD_WRITE */
	bool socket;	 /* SO_RCVTIMEO and SO_SNDTIMEO apply */
	bool restart;	 /* a handler with SA_RESTART does not end the call */
	bool blocking;	 /* O_NONBLOCK does not matter */
	bool waited, expired;
	int64_t deadline;
	struct intr_mark mark;
};

/* What gmp_io_wait returns, or an errno to fail with (EAGAIN, EINTR). */
enum { IO_RETRY = 0, IO_BLOCK = -1 };

static inline void gmp_io_begin(struct io *io, int fd, uint8_t mode, bool socket)
{
	*io = (struct io){.fd = fd, .mode = mode, .socket = socket, .restart = true, .deadline = GMP_NO_DEADLINE};
	gmp_netpoll_begin(&io->ref, fd);
}

/*
 * The last try gave EAGAIN: wait. IO_RETRY: try again, also when the wait was interrupted or timed out, as Linux
 * looks at the data first; only the next gmp_io_wait fails. IO_BLOCK: no waiting here, let the kernel block.
 */
int gmp_io_wait(struct io *io);

/* rc: what the call returns, -errno on failure. Returns it in libc's convention. */
static inline long gmp_io_end(struct io *io, long rc)
{
	/* Whoever saw anything but "not now" passes the baton, errors included: the next sees end of file or more. */
	gmp_netpoll_done(&io->ref, io->mode, rc != -EAGAIN && rc != -EINTR);
	/* Cancelled since the call began, and nothing came of it: natively that ends the thread in the kernel. */
	if (unlikely(rc <= 0) && unlikely(atomic_load_explicit(&getg()->cancel_wake, memory_order_relaxed)))
		gmp_testcancel();
	return unlikely(rc < 0) ? fail((int)-rc) : rc;
}

static inline long gmp_io_ret(long rc)
{
	return unlikely(rc < 0) ? fail((int)-rc) : rc;
}

/* A park ended with PARK_INTR. A cancelled thread that has disabled cancellation must not be woken for ever. */
static inline void gmp_io_interrupted(void)
{
	struct g *gp = getg();

	if (atomic_load_explicit(&gp->cancel_wake, memory_order_relaxed) && !gmp_cancel_pending(gp))
		atomic_store_explicit(&gp->cancel_wake, 0, memory_order_relaxed);
	gmp_testcancel();
}

/* As HANDOFF_CALL for calls that must not be repeated (close, fclose) or that return no errno. */
#define HANDOFF_ONCE(ret, call)      \
	do {                         \
		gmp_entersyscall();  \
		(ret) = (call);      \
		gmp_exitsyscall();   \
	} while (0)

/* HANDOFF_CALL with the result as -errno. */
#define HANDOFF_RAW(rc, call)                              \
	do {                                               \
		long raw_;                                 \
		HANDOFF_CALL(raw_, (long)(call));          \
		(rc) = raw_ == -1 ? -(long)errno : raw_;   \
	} while (0)

/*
 * SIGPIPE is for the thread that writes, also if that blocks it: then it must not stay pending for the M, whose next G
 * may admit it. So the kernel sends none where a flag keeps it from that (sockets), and gmp_io_sigpipe does; elsewhere
 * it is taken back from the M at once.
 */
void gmp_io_sigpipe(void);

/* On the M that made the call, before it may run another G. True: gmp_io_sigpipe is due. */
static inline bool gmp_io_took_sigpipe(void)
{
	static const struct __kernel_timespec zero;
	gmp_sigset set = SIG_BIT(SIGPIPE);

	return (getg()->sigmask & set) && sys4(__NR_rt_sigtimedwait, &set, NULL, &zero, sizeof(set)) == SIGPIPE;
}

/* HANDOFF_RAW for calls that may end, wholly or after a part, with SIGPIPE. */
#define HANDOFF_WRITE(rc, call)                                               \
	do {                                                                  \
		struct intr_mark intr_ = intr_begin();                        \
		bool took_;                                                   \
		long raw_;                                                    \
		do {                                                          \
			gmp_entersyscall();                                   \
			raw_ = (long)(call);                                  \
			if (raw_ == -1)                                       \
				raw_ = -(long)errno;                          \
			took_ = (raw_ > 0 || raw_ == -EPIPE) && gmp_io_took_sigpipe(); \
			gmp_exitsyscall();                                    \
			if (unlikely(took_))                                  \
				gmp_io_sigpipe();                             \
		} while (raw_ == -EINTR && !intr_fails(intr_, false));        \
		(rc) = raw_;                                                  \
	} while (0)

/* poll of one descriptor, now: > 0 when any event is there. */
static inline long gmp_io_look(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
#ifdef __NR_poll
	return sys3(__NR_poll, &p, 1, 0);
#else
	struct __kernel_timespec zero = {0};

	return sys5(__NR_ppoll, &p, 1, &zero, NULL, sizeof(gmp_sigset));
#endif
}

/* --- net.c --- */
void gmp_socket_lowat_used(void); /* some socket has SO_RCVLOWAT above 1 */
bool gmp_socket_lowat(int fd);	  /* this one: only the kernel waits for that much */
extern _Atomic(bool) gmp_socket_lingers;  /* SO_LINGER was set in this process; for good */
extern _Atomic(bool) gmp_socket_timeouts; /* SO_RCVTIMEO or SO_SNDTIMEO was set in this process; for good */

bool gmp_socket_stream(int fd);
void gmp_socket_sigpipe(int fd, int flags); /* a send with MSG_NOSIGNAL gave EPIPE; flags: the program's */

/* --- io.c --- */
int64_t gmp_socket_deadline(const struct io *io); /* of SO_RCVTIMEO or SO_SNDTIMEO, from now on */

/* Write all of iov to a descriptor of this kind. put.fn transfers what it can; see io.c. */
struct put {
	/* A try with iovec[n], or, if done == 0, with the original call. block: let the kernel wait. -errno. */
	long (*fn)(struct io *io, struct put *p, const struct iovec *iov, int n, size_t done, bool block);
	const struct msghdr *msg; /* the iovec is read from here after the first success */
	const struct iovec *iov;
	int n;
	int flags;
	const void *addr;
	socklen_t addrlen;
};

ssize_t gmp_io_put(int fd, struct put *p, bool socket);
long gmp_put_socket(struct io *io, struct put *p, const struct iovec *iov, int n, size_t done, bool block);

/* --- fd.c --- */
extern _Atomic(uint32_t) gmp_fl_gen; /* file status flags have changed; see gmp_fd_nonblock */
uint16_t gmp_fd_kind(int fd, struct poll_desc *pd); /* PDK_UNKNOWN: no such descriptor */
bool gmp_fd_nonblock(int fd, struct poll_desc *pd);
bool gmp_fd_closes_at_once(int fd);
void gmp_fd_forget(int fd);		     /* about to be closed or replaced */
int gmp_fd_made(int fd);		     /* new, nothing known; returns fd */
int gmp_fd_made_as(int fd, uint16_t kind, bool nonblock);

static inline void gmp_fd_learn(struct poll_desc *pd, uint16_t flag)
{
	if (pd != NULL)
		atomic_fetch_or_explicit(&pd->kind, flag, memory_order_relaxed); /* a hint: the kernel decides */
}

/*
 * After a short read the next one parks at once, without a try that would fail. That is right where data, and nothing
 * but data, ends a short read: TCP without urgent data or SO_RCVLOWAT, and pipes that are not in packet mode. Never
 * on a descriptor with O_NONBLOCK, whose reader is told what the kernel has now, not what the netpoller has heard of.
 */
extern _Atomic(bool) gmp_short_unsure; /* the program uses what makes a short read prove nothing; set for good */

static inline void gmp_io_short(struct io *io, uint16_t kind, long rc, size_t n)
{
	if ((kind & KIND_STREAM) && rc > 0 && (size_t)rc < n)
		gmp_netpoll_empty(&io->ref);
}

static inline bool gmp_io_known_empty(const struct poll_ref *r, uint16_t kind)
{
	/* relaxed: the program orders its setsockopt or fcntl before the read it is meant for */
	return (kind & KIND_STREAM) && gmp_netpoll_known_empty(r) &&
	       !atomic_load_explicit(&gmp_short_unsure, memory_order_relaxed) && !gmp_fd_nonblock(r->fd, r->pd);
}

#define RECEIVED_MAX 8 /* receives between two looks at the clock */

/*
 * A receive has succeeded; see gmp_io_share. Not for pipes and sockets of other families, between threads more often
 * than not: there the next one has its turn when this one has emptied or filled something.
 */
static inline void gmp_io_received(const struct poll_desc *pd)
{
	struct g *gp = getg();

	if (pd == NULL || (atomic_load_explicit(&pd->kind, memory_order_relaxed) & (KIND_MASK | KIND_STREAM)) !=
				  (PDK_SOCKET | KIND_STREAM)) /* TCP */
		return;
	if (unlikely(++gp->received >= RECEIVED_MAX))
		gmp_io_share();
}

/* --- sleep.c --- */
void gmp_stress_yield(void);
int64_t gmp_deadline_ms(int ms);		   /* < 0: none */
int gmp_sleep_intr(int64_t deadline);		   /* 0 or EINTR (a handler ran); a cancellation point */
void gmp_time_left(int64_t deadline, struct timespec *ret); /* until then, not below 0 */
/* What is left, in *buf, of a limit that the kernel has read (NULL: none) since the monotonic time `since`. */
const struct timespec *gmp_time_rest(const struct timespec *limit, int64_t since, struct timespec *buf);
