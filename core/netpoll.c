// SPDX-License-Identifier: MIT
/*
 * See netpoll.h. Locks: a pollDesc's own lock for its queue and bits; init_lock for what is made once. The epoll
 * set is read by one M at a time in findrunnable (sched.lastpoll) and now and then by sysmon.
 */
#include "core/netpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#define CHUNK_BITS 10 /* pollDescs per chunk: 1024 */
#define NCHUNKS 4096  /* descriptors up to 4 Mi; higher ones block in the kernel */
#define EVENTS_PER_WAIT 128
#define SEQ_BITS 16
#define CANCEL_ON_SET (1 << 1) /* TFD_TIMER_CANCEL_ON_SET, linux/timerfd.h */
#define CLOCK_TAG UINT64_C(1) /* the event of clockfd; that of breakfd is 0, others are addresses */
#define EVENT_MASK (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

/* poll_desc.audit: a wait has begun; it has lasted a round of sysmon's; its registration was checked. */
enum { AUDIT_NEW, AUDIT_SEEN, AUDIT_DONE };
#define AUDITS_PER_ROUND 64   /* system calls */
#define LOOKS_PER_ROUND	 2048 /* pollDescs */

static struct poll_desc *_Atomic chunks[NCHUNKS];
static _Atomic(uint32_t) nchunks; /* none is made at or above this index */
static struct poll_desc *free_orphans; /* linked by head; init_lock */
static struct lock init_lock;
static _Atomic(int) epfd = -1, breakfd = -1;
static _Atomic(int) clockfd = -1; /* a timerfd that says when the real-time clock was set; -1: there is none */
static _Atomic(uint32_t) break_pending; /* an eventfd write is on its way (Go: netpollWakeSig) */
static _Atomic(int32_t) nwaiting;	/* queued waiters of all pollDescs */
static _Atomic(uint32_t) passes __attribute__((aligned(64))); /* looks at the epoll set that did not wait */
static _Atomic(uint32_t) event_clock __attribute__((aligned(64))); /* events of all pollDescs, resets included */
static _Atomic(bool) no_pwait2;
static _Atomic(int) own_users;	     /* threads about to read or write breakfd or clockfd; see gmp_netpoll_yield */
static _Atomic(bool) audit_wanted;   /* some pollDesc has waiters and is not AUDIT_DONE */

/* A duplicate at the top of the descriptor range, so that the program's own numbers do not shift; or -errno. */
static int dup_top(int fd)
{
	struct rlimit64 {
		uint64_t cur, max;
	} lim = {1024, 1024};
	int top = -EMFILE;

	sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim);
	for (uint64_t back = 8; back <= 64 && lim.cur > back && top < 0; back *= 2)
		top = (int)sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, (lim.cur > INT32_MAX ? 1 << 20 : lim.cur) - back);
	return top;
}

/* fd, or -errno, of a call that makes one: moved to the top, where there is room. */
static int to_top(int fd)
{
	int top = fd < 0 ? -1 : dup_top(fd);

	if (top < 0)
		return fd;
	sys1(__NR_close, fd);
	return top;
}

/* Without one, steps of the clock are not followed. The timer itself never expires. */
static int watch_clock(int ep)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = CLOCK_TAG};
	int64_t never[4] = {0, 0, INT64_MAX / NSEC_PER_SEC, 0};
	int fd = to_top((int)sys2(__NR_timerfd_create, CLOCK_REALTIME, O_CLOEXEC | O_NONBLOCK));

	if (fd >= 0 && (sys4(__NR_timerfd_settime, fd, TIMER_ABSTIME | CANCEL_ON_SET, never, NULL) < 0 ||
			sys4(__NR_epoll_ctl, ep, EPOLL_CTL_ADD, fd, &e) < 0)) {
		sys1(__NR_close, fd);
		fd = -1;
	}
	return fd < 0 ? -1 : fd;
}

int gmp_netpoll_init(void)
{
	int ep, ev, rc = 0;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};

	if (atomic_load_explicit(&epfd, memory_order_acquire) >= 0)
		return 0;
	gmp_enter();
	gmp_lock(&init_lock);
	if (epfd < 0) {
		ep = to_top((int)sys1(__NR_epoll_create1, EPOLL_CLOEXEC));
		ev = ep < 0 ? -1 : to_top((int)sys2(__NR_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
		rc = ep < 0 ? ep : ev < 0 ? ev : (int)sys4(__NR_epoll_ctl, ep, EPOLL_CTL_ADD, ev, &e);
		if (rc == -EPERM)
			rc = -ENOSYS; /* a sandbox refuses the call; EPERM would say that it is for files */
		if (rc < 0) {
			if (ep >= 0)
				sys1(__NR_close, ep);
			if (ev >= 0)
				sys1(__NR_close, ev);
		} else {
			breakfd = ev;
			clockfd = watch_clock(ep);
			atomic_store_explicit(&epfd, ep, memory_order_release); /* pairs with the load above */
		}
	}
	gmp_unlock(&init_lock);
	gmp_leave();
	return rc;
}

bool gmp_netpoll_inited(void)
{
	return atomic_load_explicit(&epfd, memory_order_acquire) >= 0;
}

int gmp_netpoll_own(int ret_fds[GMP_OWN_FDS])
{
	_Atomic(int) *const all[GMP_OWN_FDS] = {&epfd, &breakfd, &clockfd};
	int n = 0;

	for (int i = 0; i < GMP_OWN_FDS; i++) {
		int fd = atomic_load_explicit(all[i], memory_order_relaxed), at = n;

		if (fd < 0)
			continue;
		for (; at > 0 && ret_fds[at - 1] > fd; at--)
			ret_fds[at] = ret_fds[at - 1];
		ret_fds[at] = fd;
		n++;
	}
	return n;
}

bool gmp_netpoll_ours(int fd)
{
	return fd >= 0 && (fd == atomic_load_explicit(&epfd, memory_order_relaxed) ||
			   fd == atomic_load_explicit(&breakfd, memory_order_relaxed) ||
			   fd == atomic_load_explicit(&clockfd, memory_order_relaxed));
}

/* breakfd or clockfd for one read or write: gmp_netpoll_yield waits until nobody holds it. */
static int own_get(_Atomic(int) *fd)
{
	atomic_fetch_add(&own_users, 1); /* seq_cst: before the load; pairs with store, load in gmp_netpoll_yield */
	return atomic_load(fd);
}

static void own_put(void)
{
	atomic_fetch_sub_explicit(&own_users, 1, memory_order_release); /* the descriptor was used before */
}

/*
 * dup2(x, number of ours): on plain libc the number is free. A thread that still has the old number of the epoll set
 * gets an error from the kernel, or finds no event, and looks again; a read or write of the others must not hit the
 * program's file, so those are waited for.
 */
void gmp_netpoll_yield(int fd)
{
	int to;

	if (likely(!gmp_netpoll_ours(fd)))
		return;
	gmp_enter();
	gmp_lock(&init_lock);
	if (gmp_netpoll_ours(fd)) {
		to = (int)sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1);
		for (int low = fd - 8; to < 0 && low > 2; low -= 8) /* the very top: below, where there is room */
			to = (int)sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, low);
		if (to >= 0 && fd == epfd) {
			atomic_store(&epfd, to);
		} else if (to >= 0) {
			atomic_store(fd == breakfd ? &breakfd : &clockfd, to);
			while (atomic_load(&own_users) != 0)
				sys_yield();
		}
	}
	gmp_unlock(&init_lock);
	gmp_leave();
}

bool gmp_netpoll_any_waiters(void)
{
	return atomic_load(&nwaiting) > 0; /* seq_cst: after dropping the P in findrunnable */
}

struct poll_desc *gmp_pd(int fd, bool create)
{
	uint32_t c = (uint32_t)fd >> CHUNK_BITS;
	struct poll_desc *chunk, *made;

	if (fd < 0 || c >= NCHUNKS)
		return NULL;
	chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
	if (unlikely(chunk == NULL)) {
		size_t size = sizeof(*chunk) << CHUNK_BITS;

		if (!create || (made = gmp_mmap(size)) == NULL)
			return NULL;
		for (uint32_t i = 0; i < 1u << CHUNK_BITS; i++)
			made[i].fd = (int)(c << CHUNK_BITS | i);
		for (uint32_t n = atomic_load(&nchunks); n <= c && !atomic_compare_exchange_weak(&nchunks, &n, c + 1);)
			;
		/* release: fd numbers are set; the loser of the race gives its chunk back */
		if (atomic_compare_exchange_strong_explicit(&chunks[c], &chunk, made, memory_order_acq_rel,
							     memory_order_acquire))
			chunk = made;
		else
			gmp_munmap(made, size);
	}
	return &chunk[fd & ((1 << CHUNK_BITS) - 1)];
}

/* What epoll gives back with an event. pd->lock held. */
static uint64_t pd_tag(const struct poll_desc *pd)
{
	return (uint64_t)(uintptr_t)pd | (uint64_t)(pd->seq & ((1 << SEQ_BITS) - 1)) << (64 - SEQ_BITS);
}

/* pd->lock held. 0 or -errno. */
static int pd_register(struct poll_desc *pd)
{
	struct epoll_event e = {.events = EVENT_MASK};
	int rc;

	if (pd->registered)
		return pd->registered > 0 ? 0 : -EPERM;
	rc = gmp_netpoll_init();
	if (rc < 0)
		return rc;
	e.data.u64 = pd_tag(pd);
	rc = (int)sys4(__NR_epoll_ctl, epfd, EPOLL_CTL_ADD, pd->fd, &e);
	if (rc == -EEXIST) /* a number that was closed and reopened behind our back with the same file */
		rc = (int)sys4(__NR_epoll_ctl, epfd, EPOLL_CTL_MOD, pd->fd, &e);
	if (rc == 0)
		pd->registered = 1;
	else if (rc == -EPERM)
		pd->registered = -1;
	return rc;
}

static void enqueue_locked(struct poll_desc *pd, struct poll_waiter *w)
{
	atomic_store_explicit(&w->pd, pd, memory_order_relaxed); /* under pd->lock */
	w->queued = true;
	w->got = 0;
	w->pass = atomic_load(&passes); /* seq_cst: after the caller's look; pairs with gmp_netpoll */
	w->next = NULL;
	w->prev = pd->tail;
	if (pd->tail != NULL)
		pd->tail->next = w;
	else
		pd->head = w;
	pd->tail = w;
	pd->audit = AUDIT_NEW;
	if (unlikely(!atomic_load_explicit(&audit_wanted, memory_order_relaxed))) /* sysmon looks at it now and then */
		atomic_store_explicit(&audit_wanted, true, memory_order_relaxed);
	atomic_fetch_add_explicit(&pd->nwaiters, 1, memory_order_relaxed); /* hint */
	atomic_fetch_add_explicit(&nwaiting, 1, memory_order_relaxed);	   /* before the park's CAS */
}

static void dequeue_locked(struct poll_desc *pd, struct poll_waiter *w)
{
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		pd->head = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		pd->tail = w->prev;
	w->queued = false;
	atomic_fetch_sub_explicit(&pd->nwaiters, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&nwaiting, 1, memory_order_relaxed);
}

/* Take w off whatever pollDesc it is on (it may be moved to an orphan meanwhile); returns that one, locked. */
static struct poll_desc *lock_waiter(struct poll_waiter *w)
{
	for (;;) {
		struct poll_desc *pd = atomic_load_explicit(&w->pd, memory_order_relaxed); /* rechecked */

		gmp_lock(&pd->lock);
		if (atomic_load_explicit(&w->pd, memory_order_relaxed) == pd) {
			if (w->queued)
				dequeue_locked(pd, w);
			return pd;
		}
		gmp_unlock(&pd->lock);
	}
}

/* What the kernel has told, and in which pass; -1: in one that waited. */
struct told {
	uint32_t bits;
	int64_t pass;
};

/*
 * The bits are an answer to w only if the kernel was asked after w was queued. An event that it told earlier, to an M
 * that was not run at once, is of what may have been taken since. A pass that waited has begun long before, mostly.
 */
static uint32_t answer(const struct told *t, const struct poll_waiter *w)
{
	return t != NULL && t->pass >= 0 && (int32_t)((uint32_t)t->pass - w->pass) >= 0 ? t->bits : 0;
}

/*
 * pd->lock held. Wake who waits for `mode`: all shared waiters and, per direction, the first exclusive one. Gs to make
 * runnable are put on *list. told: if this is an event.
 */
static void wake_locked(struct poll_desc *pd, uint32_t mode, const struct told *told, struct g ***tail)
{
	uint32_t left = mode;
	struct poll_waiter *w, *next;

	for (w = pd->head; w != NULL; w = next) {
		struct g *gp = w->pk->gp;
		uint32_t hit = w->mode & (PD_READ | PD_WRITE | PD_PRI);
		bool shared = w->mode & PD_SHARED;
		int won;

		next = w->next;
		if (!(hit & (shared ? mode : left)))
			continue;
		dequeue_locked(pd, w);
		w->got = answer(told, w);
		/* From a successful claim on, w belongs to its owner again, who locks pd before it uses w. */
		won = gmp_wake_claim(w->pk, w->ticket, PARK_READY);
		if (won == 0)
			continue;
		if (!shared)
			left &= ~hit;
		if (won == 2) {
			gp->schedlink = NULL;
			**tail = gp;
			*tail = &gp->schedlink;
		}
	}
}

static void wake_now(struct poll_desc *pd, uint32_t mode)
{
	struct g *list = NULL, **tail = &list;

	gmp_lock(&pd->lock);
	wake_locked(pd, mode, NULL, &tail);
	gmp_unlock(&pd->lock);
	while (list != NULL) {
		struct g *gp = list;
		list = gp->schedlink;
		gmp_ready(gp);
	}
}

void gmp_netpoll_begin(struct poll_ref *r, int fd)
{
	r->fd = fd;
	r->pd = gmp_pd(fd, true);
	r->seq = r->pd != NULL ? r->pd->seq : 0;
	/* acquire: the try comes after; an event that made it fail is in the count, or will be */
	r->events = r->pd != NULL ? atomic_load_explicit(&r->pd->events, memory_order_acquire) : 0;
}

int gmp_netpoll_wait(struct poll_ref *r, uint32_t mode, int64_t deadline, const char *why)
{
	struct poll_desc *pd = r->pd, *now;
	struct poll_waiter w = {.mode = mode};
	struct g *list = NULL, **tail = &list;
	int rc;

	if (pd == NULL)
		return -ENOMEM;
	gmp_enter();
	gmp_lock(&pd->lock);
	if (pd->seq != r->seq) {
		rc = -EBADF;
		goto unlock;
	}
	rc = pd_register(pd);
	if (rc < 0)
		goto unlock;
	if (atomic_load_explicit(&pd->events, memory_order_relaxed) != r->events) {
		r->events = atomic_load_explicit(&pd->events, memory_order_relaxed); /* lock */
		rc = PARK_READY;
		goto unlock;
	}
	w.pk = gmp_my_parker(NULL);
	w.ticket = gmp_park_prepare(w.pk);
	enqueue_locked(pd, &w);
	gmp_unlock(&pd->lock);
	if (w.pk->gp != NULL)
		w.pk->gp->waitobj = (const void *)(WAIT_FD | (uintptr_t)r->fd); /* for reports */
	rc = (int)gmp_park_commit(w.pk, w.ticket, deadline, why);
	now = lock_waiter(&w);
	if (now != pd) { /* closed meanwhile: go on with the orphan, which counts this G */
		r->pd = now;
		r->fd = now->fd;
		r->seq = now->seq;
	}
	pd = now;
	r->events = atomic_load_explicit(&pd->events, memory_order_relaxed); /* lock */
	/* A signal handler may run before the next try and never come back (longjmp): somebody else shall look. */
	if (rc == PARK_READY && unlikely(atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)))
		wake_locked(pd, mode, NULL, &tail);
unlock:
	gmp_unlock(&pd->lock);
	while (list != NULL) {
		struct g *gp = list;
		list = gp->schedlink;
		gmp_ready(gp);
	}
	gmp_leave();
	return rc;
}

/* pd is an orphan, its lock is held and given up: one G fewer uses it, and the last closes it. */
static void orphan_put(struct poll_desc *pd)
{
	bool last = --pd->orphan_refs == 0;

	if (last) {
		pd->seq++;
		pd->registered = 0;
		sys1(__NR_close, pd->fd);
	}
	gmp_unlock(&pd->lock);
	if (last) {
		gmp_lock(&init_lock);
		pd->head = (struct poll_waiter *)free_orphans;
		free_orphans = pd;
		gmp_unlock(&init_lock);
	}
}

void gmp_netpoll_done(struct poll_ref *r, uint32_t mode, bool ok)
{
	struct poll_desc *pd = r->pd;

	if (pd == NULL)
		return;
	/* relaxed hint: one that queues later has either seen the event's count or failed its try after it */
	if (ok && unlikely(atomic_load_explicit(&pd->nwaiters, memory_order_relaxed) > 0)) {
		gmp_enter();
		wake_now(pd, mode);
		gmp_leave();
	}
	if (unlikely(pd->orphan_refs > 0)) {
		gmp_enter();
		gmp_lock(&pd->lock);
		orphan_put(pd);
		gmp_leave();
		r->pd = NULL;
	}
}

uint32_t gmp_netpoll_clock(void)
{
	return atomic_load(&event_clock); /* seq_cst: before the caller's look, or after it */
}

int gmp_netpoll_arm(int fd, uint32_t *ret_events)
{
	struct poll_desc *pd = gmp_pd(fd, true);
	int rc;

	if (pd == NULL)
		return -ENOMEM;
	gmp_enter();
	gmp_lock(&pd->lock);
	rc = pd->registered > 0 ? 1 : pd_register(pd);
	*ret_events = atomic_load_explicit(&pd->events, memory_order_relaxed);
	gmp_unlock(&pd->lock);
	gmp_leave();
	return rc;
}

bool gmp_netpoll_enqueue(int fd, struct poll_waiter *w, uint32_t events)
{
	struct poll_desc *pd = gmp_pd(fd, true);
	bool ok;

	gmp_lock(&pd->lock);
	ok = atomic_load_explicit(&pd->events, memory_order_relaxed) == events && pd->registered > 0;
	if (ok)
		enqueue_locked(pd, w);
	gmp_unlock(&pd->lock);
	return ok;
}

void gmp_netpoll_dequeue(struct poll_waiter *w)
{
	struct poll_desc *pd = lock_waiter(w);

	if (unlikely(pd->orphan_refs > 0)) {
		w->got = 0; /* what happened to the closed file is no answer for the number */
		orphan_put(pd);
	} else {
		gmp_unlock(&pd->lock);
	}
}

/* pd->lock held: the number means another file from here on */
static void pd_reset(struct poll_desc *pd)
{
	pd->seq++;
	pd->registered = 0;
	atomic_fetch_add(&event_clock, 1);
	atomic_store_explicit(&pd->sticky, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&pd->events, 1, memory_order_relaxed); /* under lock */
	atomic_store_explicit(&pd->kind, PDK_UNKNOWN, memory_order_relaxed);
	atomic_store_explicit(&pd->nonblock_gen, 0, memory_order_relaxed);
}

void gmp_netpoll_fresh(int fd)
{
	struct poll_desc *pd = gmp_pd(fd, false);

	if (pd == NULL || (!pd->registered && pd->kind == PDK_UNKNOWN && pd->nonblock_gen == 0))
		return; /* nothing known of it: the creator is the only one who can know the number */
	gmp_enter();
	gmp_lock(&pd->lock);
	pd_reset(pd);
	gmp_unlock(&pd->lock);
	gmp_leave();
}

/* pd->lock held, pd has waiters. NULL: no memory or no descriptor left. */
static struct poll_desc *new_orphan(struct poll_desc *pd)
{
	struct poll_desc *o;
	int fd = dup_top(pd->fd);

	if (fd < 0)
		fd = (int)sys3(__NR_fcntl, pd->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return NULL;
	gmp_lock(&init_lock);
	o = free_orphans;
	if (o != NULL) {
		free_orphans = (struct poll_desc *)o->head;
		o->head = NULL;
	}
	gmp_unlock(&init_lock);
	if (o == NULL) {
		o = gmp_persistentalloc(sizeof(*o), _Alignof(struct poll_desc));
		if (o == NULL) {
			sys1(__NR_close, fd);
			return NULL;
		}
	}
	o->fd = fd;
	return o;
}

void gmp_netpoll_close(int fd)
{
	struct poll_desc *pd = gmp_pd(fd, false), *o;
	struct g *list = NULL, **tail = &list;

	if (pd == NULL)
		return;
	gmp_enter();
	gmp_lock(&pd->lock);
	if (pd->head != NULL) {
		o = new_orphan(pd);
		if (o == NULL) {
			wake_locked(pd, PD_READ | PD_WRITE | PD_PRI, NULL, &tail); /* they find EBADF, POLLNVAL */
		} else {
			gmp_lock(&o->lock);
			while (pd->head != NULL) {
				struct poll_waiter *w = pd->head;

				dequeue_locked(pd, w);
				enqueue_locked(o, w);
				o->orphan_refs++;
			}
			pd_register(o); /* reports at once what is ready by now */
			gmp_unlock(&o->lock);
		}
	}
	pd_reset(pd);
	gmp_unlock(&pd->lock);
	while (list != NULL) {
		struct g *gp = list;
		list = gp->schedlink;
		gmp_ready(gp);
	}
	gmp_leave();
}

static void handle_event(const struct epoll_event *e, int64_t pass, struct g ***tail)
{
	struct told told = {e->events, pass};
	struct poll_desc *pd = (struct poll_desc *)(uintptr_t)(e->data.u64 & (UINT64_MAX >> SEQ_BITS));
	uint32_t mode = 0;

	if (pd == NULL) { /* breakfd */
		uint64_t n;

		sys3(__NR_read, own_get(&breakfd), &n, sizeof(n));
		own_put();
		atomic_store(&break_pending, 0);
		return;
	}
	if (e->data.u64 == CLOCK_TAG) {
		uint64_t n;

		sys3(__NR_read, own_get(&clockfd), &n, sizeof(n)); /* ECANCELED */
		own_put();
		gmp_timers_clock_set();
		return;
	}
	if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		mode |= PD_READ;
	if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		mode |= PD_WRITE;
	if (e->events & (EPOLLPRI | EPOLLHUP | EPOLLERR))
		mode |= PD_PRI;
	gmp_lock(&pd->lock);
	if (e->data.u64 >> (64 - SEQ_BITS) == (pd->seq & ((1 << SEQ_BITS) - 1))) {
		if (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) /* before the count, which says "look" */
			atomic_store_explicit(&pd->sticky, 1, memory_order_release);
		atomic_fetch_add_explicit(&pd->events, 1, memory_order_relaxed); /* under lock */
		wake_locked(pd, mode, &told, tail);
	}
	gmp_unlock(&pd->lock);
}

static void count_poll(struct g *list)
{
	struct g *self = getg();
	uint64_t *polls = self != NULL ? &self->m->stat_polls : &sched.stat_polls;
	uint64_t *polled = self != NULL ? &self->m->stat_polled : &sched.stat_polled;

	++*polls;
	for (; list != NULL; list = list->schedlink)
		++*polled;
}

struct g *gmp_netpoll(int64_t delay)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	struct __kernel_timespec ts = {.tv_sec = delay / NSEC_PER_SEC, .tv_nsec = delay % NSEC_PER_SEC};
	struct g *list = NULL, **tail = &list;
	int64_t pass = -1;
	int n;

	if (!gmp_netpoll_inited())
		return NULL;
	if (delay == 0)
		pass = atomic_fetch_add(&passes, 1); /* seq_cst: before the kernel looks; pairs with enqueue_locked */
	if (delay == 0 || delay < 0 || no_pwait2) {
		int64_t ms = delay <= 0 ? (delay < 0 ? -1 : 0) : (delay + 999999) / 1000000;

		n = (int)sys6(__NR_epoll_pwait, epfd, events, EVENTS_PER_WAIT, ms > 1000000 ? 1000000 : ms, NULL, 0);
	} else {
		n = (int)sys6(__NR_epoll_pwait2, epfd, events, EVENTS_PER_WAIT, &ts, NULL, 0);
		/* Linux before 5.11, or a sandbox that does not know it: milliseconds from the next call on. */
		if (unlikely(n < 0 && n != -EINTR && n != -EBADF)) {
			no_pwait2 = true;
			return NULL;
		}
	}
	if (n > 0)
		atomic_fetch_add(&event_clock, 1); /* before the first of them ends a wait */
	for (int i = 0; i < n; i++)
		handle_event(&events[i], pass, &tail);
	count_poll(list);
	return list;
}

void gmp_netpoll_break(void)
{
	uint32_t idle = 0;
	uint64_t one = 1;

	if (gmp_netpoll_inited() && atomic_compare_exchange_strong(&break_pending, &idle, 1)) {
		sys3(__NR_write, own_get(&breakfd), &one, sizeof(one));
		own_put();
	}
}

/*
 * A file closed past the hooks takes its registration along, and whoever parks under its number would wait for ever.
 * So the registration of each pollDesc on which a wait lasts longer than a round is checked once: EPOLL_CTL_MOD fails
 * where there is none, and otherwise reports what is ready now. Rounds are bounded: many waiters take longer.
 */
static int audit_one(struct poll_desc *pd, struct g ***tail)
{
	struct epoll_event e = {.events = EVENT_MASK};
	int calls = 0;

	if (atomic_load_explicit(&pd->nwaiters, memory_order_relaxed) == 0) /* a wait that begins now is new anyway */
		return 0;
	gmp_lock(&pd->lock);
	if (pd->head != NULL && pd->audit == AUDIT_NEW) {
		pd->audit = AUDIT_SEEN;
		calls = -1;
	} else if (pd->head != NULL && pd->audit == AUDIT_SEEN && pd->registered > 0) {
		pd->audit = AUDIT_DONE;
		calls = 1;
		e.data.u64 = pd_tag(pd);
		if (sys4(__NR_epoll_ctl, epfd, EPOLL_CTL_MOD, pd->fd, &e) < 0) {
			wake_locked(pd, PD_READ | PD_WRITE | PD_PRI, NULL, tail);
			pd_reset(pd);
		}
	}
	gmp_unlock(&pd->lock);
	return calls;
}

bool gmp_netpoll_audit(void)
{
	static uint32_t at; /* the next descriptor of this sweep, 0: none is under way */
	static bool again;  /* this sweep found waits that were new */
	struct g *list = NULL, **tail = &list;
	uint32_t end = atomic_load_explicit(&nchunks, memory_order_acquire) << CHUNK_BITS;
	int calls = 0;

	if (at == 0) {
		/* Cleared before the look: a wait that begins meanwhile sets it again. */
		if (!atomic_load_explicit(&audit_wanted, memory_order_relaxed) ||
		    !atomic_exchange(&audit_wanted, false))
			return false;
		again = false;
	}
	for (int looks = 0; at < end && looks < LOOKS_PER_ROUND && calls < AUDITS_PER_ROUND; looks++, at++) {
		struct poll_desc *pd = gmp_pd((int)at, false);
		int rc;

		if (pd == NULL) {
			at |= (1u << CHUNK_BITS) - 1;
			continue;
		}
		rc = audit_one(pd, &tail);
		calls += rc > 0;
		again |= rc < 0;
	}
	gmp_injectglist(list);
	if (at >= end) {
		at = 0;
		if (again)
			atomic_store_explicit(&audit_wanted, true, memory_order_relaxed);
	}
	return true;
}

/* The parent's epoll set is shared with it: never touch it, only close our descriptors of it. */
void gmp_netpoll_fork_child(void)
{
	if (epfd >= 0) {
		sys1(__NR_close, epfd);
		sys1(__NR_close, breakfd);
	}
	if (clockfd >= 0)
		sys1(__NR_close, clockfd);
	epfd = breakfd = clockfd = -1;
	break_pending = 0;
	nwaiting = 0;
	init_lock = (struct lock){0};
	for (uint32_t c = 0; c < NCHUNKS; c++) {
		struct poll_desc *chunk = chunks[c];

		for (uint32_t i = 0; chunk != NULL && i < 1u << CHUNK_BITS; i++) {
			struct poll_desc *pd = &chunk[i];

			if (pd->registered || pd->head != NULL || pd->lock.key != 0) {
				pd->lock = (struct lock){0};
				pd->head = pd->tail = NULL;
				pd->nwaiters = 0;
				pd_reset(pd);
			}
		}
	}
}
