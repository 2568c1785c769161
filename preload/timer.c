// SPDX-License-Identifier: MIT
/*
 * Timers that signal one thread (SIGEV_THREAD_ID). The kernel could only signal a kernel thread, and a G changes those.
 * So it signals the process, and who takes that signal from the kernel looks up here whose it is: signal.c.
 *
 * An entry is made before the program can arm the timer, by the kernel's number of it, which siginfo has. Such a timer
 * is its number in glibc too; those of SIGEV_THREAD are pointers, of which none is here.
 */
#include "core/lock.h"
#include "preload/preload.h"

#define BUCKETS 256

struct entry {
	struct entry *next;
	int id, tid;
};

static struct lock lock; /* leaf; rank MEM: core/HACKING.md */
static struct entry *buckets[BUCKETS], *free_entries;
static _Atomic(int) nentries;

static struct entry **find_locked(int id)
{
	struct entry **link = &buckets[(unsigned)id % BUCKETS];

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

bool gmp_timer_thread(const siginfo_t *info, struct g **ret)
{
	struct entry *e;
	int tid;

	if (atomic_load_explicit(&nentries, memory_order_relaxed) == 0) /* made before the timer could fire */
		return false;
	gmp_enter();
	gmp_lock(&lock);
	e = *find_locked(info->si_timerid);
	tid = e != NULL ? e->tid : 0;
	gmp_unlock(&lock);
	gmp_leave_quiet();
	*ret = tid != 0 ? gmp_g_of_tid(tid) : NULL;
	return tid != 0;
}

const struct sigevent *gmp_timer_event(const struct sigevent *ev, struct sigevent *buf, int *ret_tid)
{
	*ret_tid = 0;
	if (!live() || ev == NULL || ev->sigev_notify != SIGEV_THREAD_ID || ev->_sigev_un._tid <= 0 ||
	    gmp_g_of_tid(ev->_sigev_un._tid) == NULL)
		return ev;
	*ret_tid = ev->_sigev_un._tid;
	*buf = *ev;
	buf->sigev_notify = SIGEV_SIGNAL;
	return buf;
}

void gmp_timer_made(int id, int tid)
{
	struct entry **link, *e, *made;

	gmp_enter();
	gmp_lock(&lock);
	if (free_entries == NULL) {
		gmp_unlock(&lock);
		made = gmp_persistentalloc(sizeof(*made), _Alignof(struct entry));
		gmp_lock(&lock);
		if (made != NULL) {
			made->next = free_entries;
			free_entries = made;
		}
	}
	link = find_locked(id);
	e = *link;
	if (e == NULL && free_entries != NULL) {
		e = free_entries;
		free_entries = e->next;
		*e = (struct entry){.id = id};
		*link = e;
		atomic_fetch_add(&nentries, 1);
	}
	if (e != NULL) /* without memory it is the process's */
		e->tid = tid;
	gmp_unlock(&lock);
	gmp_leave();
}

void gmp_timer_gone(int id)
{
	struct entry **link, *e;

	if (atomic_load_explicit(&nentries, memory_order_relaxed) == 0)
		return;
	gmp_enter();
	gmp_lock(&lock);
	link = find_locked(id);
	e = *link;
	if (e != NULL) {
		*link = e->next;
		e->next = free_entries;
		free_entries = e;
		atomic_fetch_sub(&nentries, 1);
	}
	gmp_unlock(&lock);
	gmp_leave();
}

/* A child inherits no timers. */
void gmp_timer_fork_child(void)
{
	lock = (struct lock){0};
	for (int i = 0; i < BUCKETS; i++)
		buckets[i] = NULL;
	free_entries = NULL; /* may be half changed; lost */
	nentries = 0;
}
