// SPDX-License-Identifier: MIT
/*
 * For tools that look in from outside (gdb, gmprun top and compare): where things are, as pairs of a name and an
 * address, offset or size. They find the table by a note (a PT_NOTE survives strip) that holds its distance from
 * itself, and read the rest from the process's memory or from a core file; so looking costs the process nothing.
 */
#include "core/evtrace.h"
#include "core/gmp.h"
#include "core/view.h"

#define OFF(type, field) {#type "." #field, offsetof(struct type, field)}

const struct gmp_view_entry gmp_view[] = {
	{"version", 1},
	{"sched", (uintptr_t)&sched},
	{"trace", (uintptr_t)&gmp_trace_ctl},
	{"trace.want", offsetof(struct trace_ctl, want)},
	{"trace.state", offsetof(struct trace_ctl, state)},
	{"trace.fd", offsetof(struct trace_ctl, fd)},
	{"trace.sysmon", offsetof(struct trace_ctl, sysmon)},
	{"trace.ms", offsetof(struct trace_ctl, ms)},
	{"trace.limit_mb", offsetof(struct trace_ctl, limit_mb)},
	OFF(sched, allg),
	OFF(sched, allm),
	OFF(sched, allp),
	OFF(sched, gomaxprocs),
	OFF(sched, started),
	OFF(sched, npidle),
	OFF(sched, nmidle),
	OFF(sched, runqsize),
	OFF(sched, mcount),
	OFF(sched, nlive),
	OFF(sched, coarse_now),
	OFF(sched, stat_handoffs),
	OFF(sched, stat_unseen),
	{"sizeof.g", sizeof(struct g)},
	OFF(g, goid),
	OFF(g, status),
	OFF(g, m),
	OFF(g, tid),
	OFF(g, tcb),
	OFF(g, name),
	OFF(g, alllink),
	OFF(g, start_fn),
	OFF(g, waitsince),
	OFF(g, waitreason),
	OFF(g, waitobj),
	OFF(g, parent),
	OFF(g, createpc),
	OFF(g, stack_lo),
	OFF(g, stack_hi),
	{"g.sp", offsetof(struct g, ctx.sp)},
	{"g.running", offsetof(struct g, ctx.running)},
	{"sizeof.m", sizeof(struct m)},
	OFF(m, id),
	OFF(m, tid),
	OFF(m, curg),
	OFF(m, p),
	OFF(m, alllink),
	OFF(m, idlewait),
	OFF(m, stat_polls),
	OFF(m, stat_polled),
	{"sizeof.p", sizeof(struct p)},
	OFF(p, status),
	OFF(p, m),
	OFF(p, schedtick),
	OFF(p, syscalltick),
	OFF(p, runqhead),
	OFF(p, runqtail),
	{"p.created", offsetof(struct p, stat.created)},
	{"p.switches", offsetof(struct p, stat.switches)},
	{"p.steals", offsetof(struct p, stat.steals)},
	{"p.preempts", offsetof(struct p, stat.preempts)},
	{"", 0},
};

/* Name, then the distance from the number to gmp_view. */
__asm__(".pushsection .note.gmpshim, \"a\", @note\n"
	".balign 4\n"
	".long 8, 8, 1\n"
	".asciz \"GMPSHIM\"\n"
	".quad gmp_view - .\n"
	".popsection\n");
