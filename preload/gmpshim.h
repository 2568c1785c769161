/* SPDX-License-Identifier: MIT */
/*
 * gmpshim.h: what a program may ask of the shim it runs under. Optional: nothing needs it, and a program that uses it
 * runs without the shim as well, needs no library at link time, and finds out with gmpshim_live().
 *
 * The functions here are inline, in C89 and C++98 too; each looks for the library's own by a weak reference. All are
 * thread-safe, none is a cancellation point, none changes errno; gmpshim_version, gmpshim_live and gmpshim_threads are
 * async-signal-safe.
 */
#ifndef GMPSHIM_H
#define GMPSHIM_H

#include <errno.h>

#define GMPSHIM_VERSION 100 /* of this header: major * 10000 + minor * 100 + patch */
#define GMPSHIM_MAXPROCS 256

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The library's own, which may be missing. In code that is not position-independent the linker would settle a weak
 * reference for good, so it is read from the GOT, where ld.so puts the address.
 */
extern int gmpshim_lib_version(void) __attribute__((weak));
extern int gmpshim_lib_live(void) __attribute__((weak));
extern long gmpshim_lib_threads(void) __attribute__((weak));
extern int gmpshim_lib_gomaxprocs(int n) __attribute__((weak));
extern int gmpshim_lib_lock_os_thread(void) __attribute__((weak));
extern int gmpshim_lib_unlock_os_thread(void) __attribute__((weak));

#ifdef __x86_64__
#define GMPSHIM_FIND(fn, name) __asm__(".weak " #name "\n\tmovq " #name "@GOTPCREL(%%rip), %0" : "=r"(fn))
#else
#define GMPSHIM_FIND(fn, name) ((fn) = name)
#endif

/* The version of the loaded library, as GMPSHIM_VERSION; 0 without it. Since 0.1.0, as all below. */
static __inline__ int gmpshim_version(void)
{
	int (*fn)(void);

	GMPSHIM_FIND(fn, gmpshim_lib_version);
	return fn ? fn() : 0;
}

/*
 * 1: the threads of this process are Gs on the scheduler, or will be from the first pthread_create on. 0: they are
 * kernel threads, as the shim is not loaded, turned off (GMPSHIM=0), or has stepped aside.
 */
static __inline__ int gmpshim_live(void)
{
	int (*fn)(void);

	GMPSHIM_FIND(fn, gmpshim_lib_live);
	return fn ? fn() : 0;
}

/* Number of threads that have not ended, the main thread included, at least 1 (Go: NumGoroutine). 0 if not live. */
static __inline__ long gmpshim_threads(void)
{
	long (*fn)(void);

	GMPSHIM_FIND(fn, gmpshim_lib_threads);
	return fn ? fn() : 0;
}

/*
 * Set GOMAXPROCS, the number of threads that run program code at the same time (Go: runtime.GOMAXPROCS). n is 1 to
 * GMPSHIM_MAXPROCS; 0 only asks. Takes effect before it returns, which may take some time slices (of 10 ms) when the
 * number falls, for threads that must give way; the others go on. Forked children inherit the number, programs that are
 * executed get it from the environment again.
 *
 * Returns the number that was set before; 0 if the shim is not live; -EINVAL: n is out of range; -ENOMEM; -EPERM: in
 * the child of vfork.
 */
static __inline__ int gmpshim_gomaxprocs(int n)
{
	int (*fn)(int);

	GMPSHIM_FIND(fn, gmpshim_lib_gomaxprocs);
	return fn ? fn(n) : 0;
}

/*
 * Bind the calling thread to the kernel thread it runs on, until it has called gmpshim_unlock_os_thread as often (Go:
 * LockOSThread): no other thread runs there meanwhile. For what the kernel keeps per kernel thread and no function of
 * libc knows: raw system calls, GPU contexts, performance counters. A thread other than main never gets the process's
 * first kernel thread. One that ends while it is bound takes the kernel thread with it, as what was set there must not
 * reach others. A bound thread costs two kernel switches each time it has waited.
 *
 * Returns 0, also if the shim is not live, when it is always so; EPERM: in the child of vfork, or on a thread that the
 * shim does not run (made by clone(2), or by libc for itself).
 */
static __inline__ int gmpshim_lock_os_thread(void)
{
	int (*fn)(void);

	GMPSHIM_FIND(fn, gmpshim_lib_lock_os_thread);
	return fn ? fn() : 0;
}

/* Undo one gmpshim_lock_os_thread. Returns 0; EPERM: there is none left to undo (if the shim is live), or as there. */
static __inline__ int gmpshim_unlock_os_thread(void)
{
	int (*fn)(void);

	GMPSHIM_FIND(fn, gmpshim_lib_unlock_os_thread);
	return fn ? fn() : 0;
}

#ifdef __cplusplus
}
#endif

#endif
