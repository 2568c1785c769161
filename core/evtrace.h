// SPDX-License-Identifier: MIT
/* Recording of scheduling events; see evtrace.c. All of the hooks cost one load while nothing is recorded. */
#pragma once
#include "core/gmp.h"
#include "core/tracefile.h"

void gmp_trace_add(struct p *pp, struct trace_rec *r, enum trace_kind kind, uint32_t arg, const struct g *gp);

/* On the M that holds pp. gp may be NULL. */
static inline void gmp_trace(struct p *pp, enum trace_kind kind, const struct g *gp)
{
	/* acquire: the chunk is ready; pairs with arm() */
	struct trace_rec *r = atomic_load_explicit(&pp->trace, memory_order_acquire);

	if (unlikely(r != NULL))
		gmp_trace_add(pp, r, kind, 0, gp);
}

/* gp, which runs on pp, waits from here on; slot: of gmp_count_park. */
static inline void gmp_trace_park(struct p *pp, const struct g *gp, uint32_t slot)
{
	struct trace_rec *r = atomic_load_explicit(&pp->trace, memory_order_acquire); /* as above */

	if (unlikely(r != NULL))
		gmp_trace_add(pp, r, TR_PARK, slot, gp);
}

/* gp was made runnable by a thread without a P; under sched.lock. */
void gmp_trace_ready_locked(const struct g *gp);

/* What another process that may write our memory asks for, found through gmp_view; sysmon answers. */
struct trace_ctl {
	_Atomic(uint32_t) want;	 /* TRACE_* of the asker; 0 = nothing is asked */
	_Atomic(uint32_t) state; /* TRACE_* of ours, or -errno */
	int32_t fd;		 /* where the raw trace is, in state RECORDING and DONE */
	int32_t sysmon;		 /* sysmon's kernel thread, which SIG_NOTIFY wakes */
	uint32_t ms;		 /* how long to record at most */
	uint32_t limit_mb;	 /* how much */
};

enum { TRACE_OFF, TRACE_RECORDING, TRACE_DONE };

extern struct trace_ctl gmp_trace_ctl;

/* Write to the file `path` until the exit. 0 or -errno; when threads begin, before there are others. */
int gmp_trace_start_file(const char *path, uint32_t limit_mb);
bool gmp_tracing(void);
void gmp_trace_sysmon(int64_t now); /* each round */
void gmp_trace_finish(void);	    /* at exit; on any thread */
void gmp_trace_fork_child(void);

/* Something is asked of sysmon. */
static inline bool gmp_trace_asked(void)
{
	return unlikely(atomic_load_explicit(&gmp_trace_ctl.want, memory_order_relaxed) !=
			atomic_load_explicit(&gmp_trace_ctl.state, memory_order_relaxed));
}
