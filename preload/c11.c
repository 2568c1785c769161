// SPDX-License-Identifier: MIT
/*
 * C11's mtx_*, cnd_* and call_once: in glibc the same objects as POSIX's, with other error numbers. mtx_init,
 * mtx_destroy and cnd_init only write or read the object and are libc's.
 */
#include "preload/locks.h"

static int thrd_error_of(int err)
{
	switch (err) {
	case 0:
		return thrd_success;
	case ENOMEM:
		return thrd_nomem;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	default:
		return thrd_error;
	}
}

static pthread_mutex_t *mutex_of(mtx_t *m)
{
	return (pthread_mutex_t *)(void *)m;
}

static pthread_cond_t *cond_of(cnd_t *c)
{
	return (pthread_cond_t *)(void *)c;
}

int hook_mtx_lock(mtx_t *m)
{
	return thrd_error_of(hook_pthread_mutex_lock(mutex_of(m)));
}

int hook_mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict abs)
{
	return thrd_error_of(hook_pthread_mutex_timedlock(mutex_of(m), abs));
}

int hook_mtx_trylock(mtx_t *m)
{
	return thrd_error_of(hook_pthread_mutex_trylock(mutex_of(m)));
}

int hook_mtx_unlock(mtx_t *m)
{
	return thrd_error_of(hook_pthread_mutex_unlock(mutex_of(m)));
}

int hook_cnd_wait(cnd_t *c, mtx_t *m)
{
	return thrd_error_of(hook_pthread_cond_wait(cond_of(c), mutex_of(m)));
}

int hook_cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict abs)
{
	return thrd_error_of(hook_pthread_cond_timedwait(cond_of(c), mutex_of(m), abs));
}

int hook_cnd_signal(cnd_t *c)
{
	return thrd_error_of(hook_pthread_cond_signal(cond_of(c)));
}

int hook_cnd_broadcast(cnd_t *c)
{
	return thrd_error_of(hook_pthread_cond_broadcast(cond_of(c)));
}

void hook_cnd_destroy(cnd_t *c)
{
	hook_pthread_cond_destroy(cond_of(c));
}

void hook_call_once(once_flag *flag, void (*fn)(void))
{
	gmp_once((pthread_once_t *)(void *)flag, fn);
}
