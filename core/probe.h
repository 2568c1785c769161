// SPDX-License-Identifier: MIT
/*
 * USDT probes, provider gmpshim, for bpftrace, perf and systemtap: a nop each until somebody attaches. Nothing without
 * systemtap's header.
 *
 *	create(goid, creator's goid)  park(goid, reason, object)  ready(goid)  switch(goid, P)  handoff(P)
 */
#pragma once
#if defined(__has_include) && __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define GMP_PROBE1(name, a)	  DTRACE_PROBE1(gmpshim, name, a)
#define GMP_PROBE2(name, a, b)	  DTRACE_PROBE2(gmpshim, name, a, b)
#define GMP_PROBE3(name, a, b, c) DTRACE_PROBE3(gmpshim, name, a, b, c)
#else
#define GMP_PROBE1(name, a)	  ((void)0)
#define GMP_PROBE2(name, a, b)	  ((void)0)
#define GMP_PROBE3(name, a, b, c) ((void)0)
#endif
