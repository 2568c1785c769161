// SPDX-License-Identifier: MIT
/*
 * poll, select and epoll_wait. The kernel answers, by calls that do not wait ("looks"); waiting is the
 * netpoller's:
 *
 *	arm every descriptor (registers it, counts its events); look; nothing: queue on every descriptor, unless its
 *	count has moved; park; take off; look
 *
 * An event after the look either moves the count or finds the waiter queued. When arming must wait until the kernel
 * has approved the program's pointers, or is dear because there are many descriptors, one look goes before it.
 *
 * A call with a signal mask looks once, with the old mask, as descriptors come before signals; then the mask is
 * exchanged, and handlers run only where the wait was interrupted (gmp_swap_begin in preload.h).
 */
#include "preload/io.h"

#define FEW  4	/* waiters on the stack of poll itself: the usual call has one */
#define SOME 64 /* ... of a function of its own, so that the usual one touches no further page */

struct slot {
	struct poll_waiter w; /* w.mode is set */
	int fd;
	uint32_t events;
	bool armed;
};

/* One wait on many descriptors. */
struct many {
	long (*look)(const struct many *wm); /* the kernel's answer now; -errno */
	struct pollfd *fds;
	const struct fdsets *sets;
	size_t n; /* of fds, or select's first argument */
	int64_t deadline;
	struct intr_mark mark;
	bool expired;
	bool swapped; /* inside the shim, with another signal mask */
	bool parked; /* so far at least once: all descriptors were good at first */
	bool looked; /* once already, when the netpoller's clock was at */
	uint32_t clock;
};

/* Beside what look returns: */
enum {
	MANY_INTR = -4096,   /* test for cancellation, then once more */
	MANY_KERNEL = -4097, /* the kernel must wait */
};

static long look(const struct many *wm)
{
	long rc;

	do /* EINTR without a handler: the signal was for another G */
		rc = wm->look(wm);
	while (unlikely(rc == -EINTR) && !intr_fails(wm->mark, false));
	return rc;
}

/* False: not to be had. Clears wm->looked when that look does not count any more. */
static bool arm(struct many *wm, struct slot *slots, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int rc = gmp_netpoll_arm(slots[i].fd, &slots[i].events);

		slots[i].armed = rc >= 0;
		/* EPERM: always ready, if the kernel did not say so nothing was asked for; EBADF: it will say so */
		if (unlikely(rc < 0 && rc != -EPERM && rc != -EBADF))
			return false;
		if (unlikely(rc != 1))
			wm->looked = false;
	}
	if (wm->looked && wm->clock != gmp_netpoll_clock())
		wm->looked = false;
	return true;
}

static enum park_result park(struct slot *slots, unsigned n, int64_t deadline)
{
	enum park_result r = PARK_READY;
	struct parker *pk;
	uint64_t ticket;
	unsigned i;

	gmp_enter();
	pk = gmp_my_parker(NULL);
	ticket = gmp_park_prepare(pk);
	for (i = 0; i < n; i++) {
		struct slot *s = &slots[i];

		if (!s->armed)
			continue;
		s->w.pk = pk;
		s->w.ticket = ticket;
		if (!gmp_netpoll_enqueue(s->fd, &s->w, s->events))
			break;
	}
	if (likely(i == n))
		r = gmp_park_commit(pk, ticket, deadline, "poll");
	else
		gmp_park_abort(pk, ticket);
	while (i-- > 0)
		if (slots[i].armed)
			gmp_netpoll_dequeue(&slots[i].w);
	gmp_leave();
	return r;
}

#define POLL_BITS (POLLIN | POLLOUT | POLLPRI | POLLRDHUP) /* those that the netpoller asks epoll for as well */

/* poll() of one TCP stream or pipe for reading, after a short read: nothing there, without asking the kernel. */
static bool known_empty(const struct many *wm, const struct slot *s)
{
	struct poll_ref r = {.fd = s->fd, .pd = gmp_pd(s->fd, false), .events = s->events};

	return wm->n == 1 && wm->fds != NULL && s->armed && r.pd != NULL &&
	       (wm->fds->events & ~(POLLIN | POLLPRI | POLLRDHUP)) == 0 &&
	       gmp_io_known_empty(&r, atomic_load_explicit(&r.pd->kind, memory_order_relaxed));
}

/* poll() of one descriptor: an event that the kernel told while the call was under way is the answer. */
static long answer(const struct many *wm, const struct slot *s)
{
	short events;

	if (wm->n != 1 || wm->fds == NULL || s->w.got == 0)
		return 0;
	events = wm->fds->events;
	if (events & ~POLL_BITS)
		return 0;
	events = (short)(s->w.got & (uint32_t)(events | POLLERR | POLLHUP));
	if (events == 0)
		return 0;
	wm->fds->revents = events;
	return 1;
}

static long wait_slots(struct many *wm, struct slot *slots, unsigned n)
{
	for (;;) {
		enum park_result r;
		long rc;

		if (!arm(wm, slots, n))
			return MANY_KERNEL;
		if (!wm->looked && !(n == 1 && known_empty(wm, slots))) {
			rc = look(wm);
			if (rc != 0 || wm->expired)
				return rc;
		}
		wm->looked = false;
		if (intr_fails(wm->mark, false))
			return -EINTR;
		r = park(slots, n, wm->deadline);
		wm->parked = true;
		if (r == PARK_TIMEOUT)
			wm->expired = true;
		rc = n == 1 && r == PARK_READY ? answer(wm, slots) : 0;
		if (rc == 0)
			rc = look(wm);
		if (rc != 0 || wm->expired)
			return rc;
		if (intr_fails(wm->mark, false))
			return -EINTR;
		if (r == PARK_INTR)
			return MANY_INTR;
	}
}

/* --- the descriptors asked for --- */

/* select's sets as the program passed them: the kernel overwrites the program's. */
#define SETS_MAX (FD_SETSIZE / 64)

struct fdsets {
	uint64_t *user[3];
	uint64_t in[3][SETS_MAX];
};

static uint32_t mode_of(short events)
{
	uint32_t mode = PD_SHARED;

	if (events & (POLLOUT | POLLWRNORM | POLLWRBAND))
		mode |= PD_WRITE;
	if (events & (POLLPRI | POLLRDBAND))
		mode |= PD_PRI;
	/* errors and hang-ups come as any of the three */
	if ((events & (POLLIN | POLLRDNORM | POLLRDBAND | POLLRDHUP)) || mode == PD_SHARED)
		mode |= PD_READ;
	return mode;
}

static void slot_init(struct slot *s, int fd, uint32_t mode)
{
	s->fd = fd;
	s->w = (struct poll_waiter){.mode = mode};
}

/* slots == NULL: only count. */
static unsigned fill(const struct many *wm, struct slot *slots)
{
	static const uint32_t modes[3] = {PD_READ, PD_WRITE, PD_PRI};
	unsigned k = 0;

	if (wm->sets == NULL) {
		if (slots == NULL)
			return (unsigned)wm->n;
		for (size_t i = 0; i < wm->n; i++)
			if (wm->fds[i].fd >= 0)
				slot_init(&slots[k++], wm->fds[i].fd, mode_of(wm->fds[i].events));
		return k;
	}
	for (size_t at = 0; at < wm->n; at += 64) {
		uint64_t set[3], any = 0;

		for (int j = 0; j < 3; j++) {
			set[j] = wm->sets->in[j][at / 64];
			if (wm->n - at < 64)
				set[j] &= (UINT64_C(1) << (wm->n - at)) - 1;
			any |= set[j];
		}
		for (; any != 0; any &= any - 1, k++) {
			int bit = __builtin_ctzll(any);
			uint32_t mode = PD_SHARED;

			if (slots == NULL)
				continue;
			for (int j = 0; j < 3; j++)
				if (set[j] >> bit & 1)
					mode |= modes[j];
			slot_init(&slots[k], (int)at + bit, mode);
		}
	}
	return k;
}

static noinline long wait_few(struct many *wm)
{
	struct slot slots[FEW];

	return wait_slots(wm, slots, fill(wm, slots));
}

static noinline long wait_some(struct many *wm)
{
	struct slot slots[SOME];

	return wait_slots(wm, slots, fill(wm, slots));
}

static noinline long wait_lots(struct many *wm, unsigned n)
{
	struct slot *slots = gmp_mmap(n * sizeof(*slots));
	long rc;

	if (slots == NULL)
		return MANY_KERNEL;
	rc = wait_slots(wm, slots, fill(wm, slots));
	gmp_munmap(slots, n * sizeof(*slots));
	return rc;
}

/* Handlers may run. True: the call must fail. */
static bool interrupted(struct many *wm)
{
	if (wm->swapped)
		return gmp_swap_intr();
	gmp_io_interrupted();
	return intr_fails(wm->mark, false);
}

/* readable: reading the program's descriptors cannot fault (or they are copied already). -errno or MANY_KERNEL. */
static long wait_many(struct many *wm, bool readable)
{
	bool few = readable && fill(wm, NULL) <= FEW;
	long rc = 0;

	if (!few) {
		wm->looked = true;
		wm->clock = gmp_netpoll_clock();
		rc = look(wm);
	}
	if (rc == 0) {
		unsigned n = fill(wm, NULL);

		do {
			if (n <= FEW)
				rc = wait_few(wm);
			else if (n <= SOME)
				rc = wait_some(wm);
			else
				rc = wait_lots(wm, n);
			if (rc == MANY_INTR && interrupted(wm))
				rc = -EINTR;
		} while (rc == MANY_INTR);
	}
	return rc;
}

/* In the caller's stack: certainly readable. */
static bool on_stack(const void *p, size_t size)
{
	const struct g *gp = getg();

	return (const char *)p >= gp->stack_lo && (const char *)p + size <= gp->stack_hi && gp->stack_lo != NULL;
}

/* A bad pointer is EFAULT, not a crash: the kernel reads 8 bytes there and rejects the call. */
static bool readable8(const void *p)
{
	return sys4(__NR_rt_sigprocmask, -1, p, NULL, sizeof(gmp_sigset)) != -EFAULT;
}

/* --- in the kernel --- */

/* What to give to the kernel: NULL for no limit. */
static struct timespec *time_left(int64_t deadline, struct timespec *buf)
{
	if (deadline == GMP_NO_DEADLINE)
		return NULL;
	gmp_time_left(deadline, buf);
	return buf;
}

/* As HANDOFF_CALL, but a repeated call gets what is left of the time. */
#define KERNEL_WAIT(ret, deadline, mark, call)                                                                         \
	do {                                                                                                           \
		struct timespec buf_, *left_ = time_left((deadline), &buf_);                                           \
                                                                                                                       \
		HANDOFF_ONCE(ret, call(left_));                                                                        \
	} while ((ret) == -1 && errno == EINTR && !intr_fails((mark), false))

static int kernel_poll(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *mask)
{
	struct intr_mark mark = intr_begin();
	int ret;

#define CALL(left) real.ppoll(fds, n, left, mask)
	KERNEL_WAIT(ret, deadline, mark, CALL);
#undef CALL
	return ret;
}

/* The sets are as the program passed them; the kernel leaves them so when the call is interrupted. */
static int kernel_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, int64_t deadline, const sigset_t *mask)
{
	struct intr_mark mark = intr_begin();
	int ret;

#define CALL(left) real.pselect(n, rd, wr, ex, left, mask)
	KERNEL_WAIT(ret, deadline, mark, CALL);
#undef CALL
	return ret;
}

/* --- poll --- */

static long look_poll(const struct many *wm)
{
#ifdef __NR_poll
	return sys3(__NR_poll, wm->fds, wm->n, 0);
#else
	struct __kernel_timespec zero = {0};

	return sys5(__NR_ppoll, wm->fds, wm->n, &zero, NULL, sizeof(gmp_sigset));
#endif
}

/*
 * The wait of a call with a signal mask, after one look. once: poll and select look for signals even when they are not
 * to wait.
 */
static long wait_swapped(struct many *wm, const sigset_t *mask, bool once, bool readable)
{
	long rc;

	gmp_swap_begin(mask);
	wm->swapped = true;
	if (once)
		rc = gmp_swap_intr() ? -EINTR : 0;
	else
		rc = wait_many(wm, readable);
	gmp_swap_end();
	return rc;
}

static bool good_mask(const sigset_t *mask)
{
	return on_stack(mask, sizeof(gmp_sigset)) || readable8(mask);
}

/* On a G. now: do not wait. */
static int do_poll(struct pollfd *fds, nfds_t n, bool now, int64_t deadline, const sigset_t *mask)
{
	struct many wm = {.look = look_poll, .fds = fds, .n = n, .deadline = deadline, .mark = intr_begin()};
	long rc;

	if (now && mask == NULL)
		return (int)gmp_io_ret(look(&wm));
	if (n == 0 && mask == NULL) {
		int err = gmp_sleep_intr(deadline);

		return err == 0 ? 0 : fail(err);
	}
	if (likely(mask == NULL)) {
		rc = wait_many(&wm, n <= FEW && on_stack(fds, n * sizeof(*fds)));
	} else {
		rc = look(&wm);
		if (rc == 0)
			rc = wait_swapped(&wm, mask, now, n <= FEW);
	}
	if (unlikely(rc == MANY_KERNEL))
		return kernel_poll(fds, n, deadline, mask);
	return (int)gmp_io_ret(rc);
}

int hook_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	if (!on_g())
		return PASS(poll)(fds, n, timeout);
	stress_point();
	gmp_testcancel();
	return do_poll(fds, n, timeout == 0, timeout == 0 ? 0 : gmp_deadline_ms(timeout), NULL);
}

int hook_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	bool now = false;
	int64_t deadline = GMP_NO_DEADLINE;

	if (!on_g())
		return PASS(ppoll)(fds, n, timeout, mask);
	stress_point();
	gmp_testcancel();
	if (timeout != NULL) {
		if (timeout->tv_sec < 0 || !ts_valid(timeout))
			return fail(EINVAL);
		now = timeout->tv_sec == 0 && timeout->tv_nsec == 0;
		deadline = gmp_deadline_rel(timeout);
	}
	if (mask != NULL && !good_mask(mask))
		return fail(EFAULT);
	return do_poll(fds, n, now, deadline, mask);
}

int hook___poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	return unlikely(size / sizeof(*fds) < n) ? PASS(__poll_chk)(fds, n, timeout, size) : hook_poll(fds, n, timeout);
}

int hook___ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
	return unlikely(size / sizeof(*fds) < n) ? PASS(__ppoll_chk)(fds, n, timeout, mask, size)
						 : hook_ppoll(fds, n, timeout, mask);
}

/* --- select --- */

static void restore_sets(const struct fdsets *sets, size_t n)
{
	for (int j = 0; j < 3; j++)
		for (size_t i = 0; sets->user[j] != NULL && i < (n + 63) / 64; i++)
			sets->user[j][i] = sets->in[j][i];
}

static long select_now(const struct many *wm)
{
	struct __kernel_timespec zero = {0};

	return sys6(__NR_pselect6, wm->n, wm->sets->user[0], wm->sets->user[1], wm->sets->user[2], &zero, NULL);
}

/*
 * A descriptor was closed while select waited: the kernel reports it as ready for reading and writing when something
 * wakes the call, and EBADF is for those that were closed before (fs/select.c, POLLIN_SET). So the others are asked
 * for.
 */
static noinline long look_select_closed(const struct many *wm)
{
	uint64_t closed[SETS_MAX] = {0};
	long rc, count = 0;

	for (size_t i = 0; i < wm->n; i++) {
		uint64_t bit = UINT64_C(1) << i % 64;

		if (((wm->sets->in[0][i / 64] | wm->sets->in[1][i / 64] | wm->sets->in[2][i / 64]) & bit) == 0 ||
		    sys2(__NR_fcntl, i, F_GETFD) != -EBADF)
			continue;
		closed[i / 64] |= bit;
		count += ((wm->sets->in[0][i / 64] & bit) != 0) + ((wm->sets->in[1][i / 64] & bit) != 0);
	}
	for (int j = 0; j < 3; j++)
		for (size_t i = 0; wm->sets->user[j] != NULL && i < (wm->n + 63) / 64; i++)
			wm->sets->user[j][i] = wm->sets->in[j][i] & ~closed[i];
	rc = select_now(wm);
	if (rc < 0)
		return rc;
	for (int j = 0; j < 2; j++)
		for (size_t i = 0; wm->sets->user[j] != NULL && i < (wm->n + 63) / 64; i++)
			wm->sets->user[j][i] |= wm->sets->in[j][i] & closed[i];
	return rc + count;
}

static long look_select(const struct many *wm)
{
	long rc;

	restore_sets(wm->sets, wm->n);
	rc = select_now(wm);
	return unlikely(rc == -EBADF && wm->parked) ? look_select_closed(wm) : rc;
}

/* Copies the program's sets. False: a bad pointer, or memory that the kernel may refuse: let it say so. */
static bool save_sets(struct fdsets *sets, size_t n)
{
	size_t words = (n + 63) / 64;

	for (int j = 0; j < 3; j++) {
		const uint64_t *from = sets->user[j];

		for (size_t i = 0; i < words; i++)
			sets->in[j][i] = 0;
		if (from == NULL || words == 0)
			continue;
		if (!on_stack(from, words * 8) && (!readable8(from) || !readable8(from + words - 1)))
			return false;
		for (size_t i = 0; i < words; i++)
			sets->in[j][i] = from[i];
	}
	return true;
}

/* On a G. deadline 0: do not wait. */
static int do_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, int64_t deadline, const sigset_t *mask)
{
	struct fdsets sets = {.user = {(uint64_t *)rd, (uint64_t *)wr, (uint64_t *)ex}};
	struct many wm = {
		.look = look_select, .sets = &sets, .n = (size_t)n, .deadline = deadline, .mark = intr_begin()};
	long rc;

	if (n == 0 && deadline != 0 && mask == NULL) {
		int err = gmp_sleep_intr(deadline);

		return err == 0 ? 0 : fail(err);
	}
	/*
	 * How much of large sets the kernel reads depends on the process's table of files, not on n alone: leave them
	 * to it. So n < 0 (EINVAL), and calls that do not wait.
	 */
	if (n < 0 || n > FD_SETSIZE || (deadline == 0 && mask == NULL) || !save_sets(&sets, wm.n))
		return kernel_select(n, rd, wr, ex, deadline, mask);
	if (likely(mask == NULL)) {
		rc = wait_many(&wm, true);
	} else {
		rc = look(&wm);
		if (rc == 0)
			rc = wait_swapped(&wm, mask, deadline == 0, true);
	}
	if (unlikely(rc == MANY_KERNEL)) {
		restore_sets(&sets, wm.n);
		return kernel_select(n, rd, wr, ex, deadline, mask);
	}
	if (unlikely(rc < 0))
		restore_sets(&sets, wm.n); /* an error leaves them alone; the last look may have cleared them */
	return (int)gmp_io_ret(rc);
}

int hook_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)
{
	int64_t deadline = GMP_NO_DEADLINE, until = GMP_NO_DEADLINE;
	struct timespec ts;
	int ret, err;

	if (!on_g())
		return PASS(select)(n, rd, wr, ex, timeout);
	stress_point();
	gmp_testcancel();
	if (timeout != NULL) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return fail(EINVAL);
		ts.tv_sec = timeout->tv_sec;
		if (__builtin_add_overflow(ts.tv_sec, timeout->tv_usec / 1000000, &ts.tv_sec))
			ts.tv_sec = INT64_MAX;
		ts.tv_nsec = timeout->tv_usec % 1000000 * 1000;
		until = gmp_deadline_rel(&ts);
		deadline = ts.tv_sec == 0 && ts.tv_nsec == 0 ? 0 : until;
	}
	ret = do_select(n, rd, wr, ex, deadline, NULL);
	if (timeout != NULL) {
		err = errno;
		gmp_time_left(until, &ts);
		*timeout = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
		if (deadline == 0)
			*timeout = (struct timeval){0};
		errno = err;
	}
	return ret;
}

int hook_pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout, const sigset_t *mask)
{
	int64_t deadline = GMP_NO_DEADLINE;

	if (!on_g())
		return PASS(pselect)(n, rd, wr, ex, timeout, mask);
	stress_point();
	gmp_testcancel();
	if (timeout != NULL) {
		if (timeout->tv_sec < 0 || !ts_valid(timeout))
			return fail(EINVAL);
		deadline = timeout->tv_sec == 0 && timeout->tv_nsec == 0 ? 0 : gmp_deadline_rel(timeout);
	}
	if (mask != NULL && !good_mask(mask))
		return fail(EFAULT);
	return do_select(n, rd, wr, ex, deadline, mask);
}

/* --- epoll: the program's epoll set is itself a descriptor that can be waited for, by one G per event --- */

/* The kernel waits, where the epoll set cannot be registered. rc as a system call's. */
static long kernel_epoll(int ep, struct epoll_event *ev, int max, int64_t deadline, const sigset_t *mask)
{
	struct intr_mark mark = intr_begin();
	int ret;

	do {
		struct timespec buf, *left = time_left(deadline, &buf);
		int64_t ms = left == NULL ? -1 : left->tv_sec * 1000 + (left->tv_nsec + 999999) / 1000000;

		HANDOFF_ONCE(ret, real.epoll_pwait(ep, ev, max, ms > INT32_MAX ? INT32_MAX : (int)ms, mask));
	} while (ret == -1 && errno == EINTR && !intr_fails(mark, false));
	return ret == -1 ? -errno : ret;
}

static long look_epoll(const struct io *io, struct epoll_event *ev, int max)
{
	long rc;

	do
		rc = sys6(__NR_epoll_pwait, io->ref.fd, ev, max, 0, NULL, sizeof(gmp_sigset));
	while (rc == -EINTR && !intr_fails(io->mark, false));
	return rc;
}

/* After one look, inside the shim with another signal mask. -errno; MANY_KERNEL: only the kernel can wait. */
static long wait_epoll_swapped(struct io *io, struct epoll_event *ev, int max, int64_t deadline)
{
	bool expired = false;

	for (;;) {
		int r = gmp_netpoll_wait(&io->ref, PD_READ, deadline, "epoll");
		long rc;

		switch (r) {
		case PARK_READY:
		case PARK_INTR:
			break;
		case PARK_TIMEOUT:
			expired = true;
			break;
		case -EBADF: /* closed since; gmp_io_wait does the same */
			gmp_netpoll_done(&io->ref, PD_READ, false);
			gmp_netpoll_begin(&io->ref, io->fd);
			break;
		default:
			return MANY_KERNEL;
		}
		rc = look_epoll(io, ev, max);
		if (rc != 0 || expired)
			return rc;
		if (r == PARK_INTR && gmp_swap_intr())
			return -EINTR;
	}
}

/* On a G. */
static int do_epoll(int ep, struct epoll_event *ev, int max, bool now, int64_t deadline, const sigset_t *mask)
{
	struct io io;
	long rc;
	int next;

	gmp_io_begin(&io, ep, PD_READ, false);
	io.blocking = true;
	io.restart = false;
	io.deadline = deadline;
	io.mark = intr_begin();
	for (;;) {
		rc = look_epoll(&io, ev, max);
		if (rc != 0 || now)
			break;
		if (unlikely(mask != NULL)) {
			gmp_swap_begin(mask);
			rc = wait_epoll_swapped(&io, ev, max, deadline);
			gmp_swap_end();
			if (rc == MANY_KERNEL)
				rc = kernel_epoll(io.ref.fd, ev, max, deadline, mask);
			break;
		}
		next = gmp_io_wait(&io);
		if (next == IO_RETRY)
			continue;
		if (next == IO_BLOCK)
			rc = kernel_epoll(io.ref.fd, ev, max, deadline, NULL);
		else
			rc = next == EAGAIN ? 0 : -next;
		break;
	}
	getg()->unparked_since = INT64_MAX; /* its connections take turns by themselves: gmp_io_share */
	/* Nothing found: no baton to pass. */
	if (rc == 0) {
		gmp_netpoll_done(&io.ref, PD_READ, false);
		return 0;
	}
	return (int)gmp_io_end(&io, rc);
}

int hook_epoll_wait(int ep, struct epoll_event *ev, int max, int timeout)
{
	if (!on_g())
		return PASS(epoll_wait)(ep, ev, max, timeout);
	stress_point();
	gmp_testcancel();
	return do_epoll(ep, ev, max, timeout == 0, timeout == 0 ? 0 : gmp_deadline_ms(timeout), NULL);
}

int hook_epoll_pwait(int ep, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	if (!on_g())
		return PASS(epoll_pwait)(ep, ev, max, timeout, mask);
	stress_point();
	gmp_testcancel();
	if (mask != NULL && !good_mask(mask))
		return fail(EFAULT);
	return do_epoll(ep, ev, max, timeout == 0, timeout == 0 ? 0 : gmp_deadline_ms(timeout), mask);
}

int hook_epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout, const sigset_t *mask)
{
	int64_t deadline = GMP_NO_DEADLINE;
	bool now = false;

	if (!on_g())
		return PASS(epoll_pwait2)(ep, ev, max, timeout, mask);
	stress_point();
	gmp_testcancel();
	if (timeout != NULL) {
		if (timeout->tv_sec < 0 || !ts_valid(timeout))
			return fail(EINVAL);
		now = timeout->tv_sec == 0 && timeout->tv_nsec == 0;
		deadline = gmp_deadline_rel(timeout);
	}
	if (mask != NULL && !good_mask(mask))
		return fail(EFAULT);
	return do_epoll(ep, ev, max, now, deadline, mask);
}
