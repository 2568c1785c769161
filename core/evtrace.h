// SPDX-License-Identifier: MIT
/* Recording of scheduling events; see evtrace.c. All but gmp_trace_start cost one load while nothing is recorded. */
#pragma once
#include "core/gmp.h"

enum trace_kind {
	TR_RUN,	    /* gp begins to run; its wait, if it had one, is over */
	TR_STOP,    /* no G on this P from here on */
	TR_READY,   /* gp was made runnable here */
	TR_PREEMPT, /* gp's time slice is over */
	TR_HANDOFF, /* the P was handed on */
};

void gmp_trace_add(struct trace_ring *r, enum trace_kind kind, struct g *gp);
void gmp_trace_wait_begins(struct g *gp, const char *why);

/* On the M that holds pp. */
static inline void gmp_trace(struct p *pp, enum trace_kind kind, struct g *gp)
{
	if (unlikely(pp->trace != NULL))
		gmp_trace_add(pp->trace, kind, gp);
}

/* gp, which runs on pp, waits from here on. */
static inline void gmp_trace_wait(struct p *pp, struct g *gp, const char *why)
{
	if (unlikely(pp->trace != NULL))
		gmp_trace_wait_begins(gp, why);
}

int gmp_trace_start(const char *path); /* 0 or -errno; when threads begin, before there are others */
void gmp_trace_new_p(struct p *pp);    /* before others see it */
bool gmp_tracing(void);
void gmp_trace_drain(int64_t now);     /* sysmon, often */
void gmp_trace_finish(void);	       /* at exit; on any thread */
void gmp_trace_fork_child(void);
