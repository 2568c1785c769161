// SPDX-License-Identifier: MIT
/*
 * Readiness of descriptors for parked Gs, on one edge-triggered epoll set (Go's netpoll.go). A pollDesc per
 * descriptor number, registered once at the first wait, for IN|OUT|RDHUP|PRI. Events are counted, so that nothing is
 * lost between a failed try and the wait, also when the event has meanwhile woken somebody else:
 *
 *	remember the count -> try (EAGAIN) -> gmp_netpoll_wait: count changed? say READY, else queue and park
 *
 * Any number of Gs may wait on one descriptor. Exclusive waiters (read, accept ...) are woken one at a time; each
 * passes the baton by gmp_netpoll_done. Shared ones (poll, select) are all woken.
 *
 * A descriptor closed while Gs are parked on it: Linux keeps the open file alive for them. So gmp_netpoll_close
 * moves them to an orphan pollDesc with a duplicate of the descriptor, which the last of them closes. A reader goes on
 * with the old file; poll is woken by it, but looks at the number again, as the kernel's does.
 */
#pragma once
#include "core/gmp.h"

enum { PD_READ = 1, PD_WRITE = 2, PD_PRI = 4, PD_SHARED = 8 };

/* What kind of file a descriptor is, for the hooks of preload/io.c; kept until the descriptor is closed. */
enum pd_kind { PDK_UNKNOWN, PDK_SOCKET, PDK_PIPE, PDK_OTHER, PDK_FILE };

struct poll_waiter;

/* One cache line. */
struct poll_desc {
	struct lock lock; /* rank POLL_DESC */
	int fd;
	uint32_t seq;	  /* changes when the descriptor is closed or made anew; tags the events */
	_Atomic(uint32_t) events; /* counts events; compared with the count before the look; written under lock */
	_Atomic(int8_t) registered; /* 0 no, 1 yes, -1 epoll refuses it (EPERM); written under lock */
	_Atomic(uint8_t) sticky;    /* an event has brought more than data (end, error, urgent); till the close */
	_Atomic(uint8_t) nonblock;  /* O_NONBLOCK as of nonblock_gen; preload */
	uint8_t audit;		    /* enum: what sysmon has checked since the last park; lock */
	_Atomic(uint16_t) kind;	    /* enum pd_kind and flags; preload */
	_Atomic(uint32_t) nonblock_gen;
	_Atomic(uint32_t) nwaiters; /* under lock; read without it as a hint */
	uint32_t orphan_refs;	    /* > 0: an orphan, this many Gs still use it */
	_Atomic(uint64_t) empty;    /* event count + 1 when a reader saw it empty; gmp_netpoll_empty */
	struct poll_waiter *head, *tail;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct poll_desc) == 64, "one cache line");

struct poll_waiter {
	struct parker *pk;
	uint64_t ticket;
	struct poll_desc *_Atomic pd; /* written under that pd's lock */
	uint32_t mode;
	uint32_t got; /* the epoll bits that ended the wait, 0: look yourself; under the pd's lock */
	uint32_t pass; /* passes when it was queued */
	bool queued;
	struct poll_waiter *next, *prev;
};

/* A descriptor during one blocking call. Begin with gmp_netpoll_begin, end with gmp_netpoll_done. */
struct poll_ref {
	int fd;		      /* what to pass to the kernel */
	struct poll_desc *pd; /* NULL: cannot be waited for */
	uint32_t seq;
	uint32_t events; /* count before the last try */
};

int gmp_netpoll_init(void);	 /* on first need; 0 or -errno (no epoll or eventfd to be had) */
bool gmp_netpoll_inited(void);
#define GMP_OWN_FDS 3
int gmp_netpoll_own(int ret_fds[GMP_OWN_FDS]); /* the runtime's descriptors, in increasing order; how many */
bool gmp_netpoll_ours(int fd);	 /* one of them: close hooks answer EBADF */
void gmp_netpoll_yield(int fd);	 /* the program wants this number: if it is ours, move ours away */
struct poll_desc *gmp_pd(int fd, bool create); /* NULL: negative, too large, or not made yet */

void gmp_netpoll_begin(struct poll_ref *r, int fd);

/*
 * After a try failed with EAGAIN: wait until r->fd may be tried again for mode (PD_READ or PD_WRITE). Returns enum
 * park_result, or -EPERM (epoll refuses such files), -EBADF (closed since begin), or another -errno (no memory,
 * no watches left): then the caller blocks in the kernel. May change r->fd.
 */
int gmp_netpoll_wait(struct poll_ref *r, uint32_t mode, int64_t deadline, const char *why);

/*
 * A read between begin and here came short: the file was empty then. From now on gmp_netpoll_known_empty holds until
 * the next event, and a reader may park without a try that is bound to fail. Right only for files that say by an event,
 * and by nothing else, that there is something again (the caller's part), and while no event has brought an end, an
 * error or urgent data, after which a short read proves nothing.
 */
static inline void gmp_netpoll_empty(struct poll_ref *r)
{
	/* relaxed: numbers only grow, and a stale one never equals the present count */
	if (r->pd != NULL && atomic_load_explicit(&r->pd->registered, memory_order_relaxed) > 0)
		atomic_store_explicit(&r->pd->empty, (uint64_t)r->events + 1, memory_order_relaxed);
}

static inline bool gmp_netpoll_known_empty(const struct poll_ref *r)
{
	return r->pd != NULL &&
	       atomic_load_explicit(&r->pd->empty, memory_order_relaxed) == (uint64_t)r->events + 1 &&
	       !atomic_load_explicit(&r->pd->sticky, memory_order_relaxed);
}

/* The call is over. ok: it took what was ready, so somebody else waiting for mode must look again. */
void gmp_netpoll_done(struct poll_ref *r, uint32_t mode, bool ok);

/*
 * For calls that wait on many descriptors: arm registers fd and returns its event count in *ret_events, to be
 * taken before looking; enqueue queues w unless events came since (false). Errors as gmp_netpoll_wait; 1: fd was
 * registered before. What was seen while gmp_netpoll_clock stood still holds for registered descriptors.
 */
uint32_t gmp_netpoll_clock(void); /* moves with every event */
int gmp_netpoll_arm(int fd, uint32_t *ret_events);
bool gmp_netpoll_enqueue(int fd, struct poll_waiter *w, uint32_t events);
void gmp_netpoll_dequeue(struct poll_waiter *w);

void gmp_netpoll_fresh(int fd); /* fd was just made by the program: forget what was known of the number */
void gmp_netpoll_close(int fd); /* fd is about to be closed or replaced */

/*
 * On g0: collect Gs made ready by events, linked by schedlink. delay: ns to block, < 0 for ever, 0 not at all.
 */
struct g *gmp_netpoll(int64_t delay);
void gmp_netpoll_break(void); /* make a blocked gmp_netpoll return */
bool gmp_netpoll_any_waiters(void);
bool gmp_netpoll_audit(void); /* sysmon, every 10 ms: false when nothing is left to check */
void gmp_netpoll_fork_child(void);
