// SPDX-License-Identifier: MIT
/* gmpshim.h: what programs that know of the shim may ask of it. */
#include "preload/gmpshim.h"
#include "preload/preload.h"

#define API __attribute__((visibility("default")))

API int gmpshim_lib_version(void)
{
	return GMPSHIM_VERSION;
}

API int gmpshim_lib_live(void)
{
	return sched.maing != NULL; /* booted: it did not step aside */
}

API long gmpshim_lib_threads(void)
{
	return sched.maing != NULL ? gmp_live_count() : 0;
}

/* The caller is a G on its own kernel stack, not the child of vfork, which shares everything but its kernel thread. */
static bool is_g(void)
{
	return getg() != NULL && gmp_tls.inshim == 0 && (!live() || on_g());
}

API int gmpshim_lib_gomaxprocs(int n)
{
	int saved = errno, rc;

	if (sched.maing == NULL)
		return 0;
	if (n == 0)
		return gmp_gomaxprocs();
	if (getg() != NULL && !is_g())
		return -EPERM;
	rc = gmp_procresize(n);
	errno = saved;
	return rc;
}

API int gmpshim_lib_lock_os_thread(void)
{
	int saved = errno;

	if (sched.maing == NULL)
		return 0;
	if (!is_g())
		return EPERM;
	gmp_lock_own_thread();
	getg()->user_locks++;
	errno = saved;
	return 0;
}

API int gmpshim_lib_unlock_os_thread(void)
{
	if (sched.maing == NULL)
		return 0;
	if (!is_g() || getg()->user_locks == 0)
		return EPERM;
	getg()->user_locks--;
	gmp_unlock_os_thread();
	return 0;
}
