// SPDX-License-Identifier: MIT
/*
 * Raw traces: what evtrace.c records and tracejson.c turns into JSON, in a file or a memfd. A raw trace is a sequence
 * of blocks, each a struct trace_block and `size` bytes; a RECS block is as long as one chunk at most. Blocks of one P
 * are in order of time. All is in the byte order of the machine: raw traces do not travel.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define TRACE_MAGIC 0x31545047u /* the `magic` of every block */

enum trace_block_kind {
	TB_START = 1, /* p: number of Ps; v[0]: the process; text: its name */
	TB_RECS,   /* p: whose, GMP_MAXPROCS: of threads without a P; v[0], v[1]: switches of that P before and after;
		      then struct trace_rec */
	TB_REASON, /* p, v[0]: slot; then its text, 0-terminated: why a wait of that P's begins */
	TB_COUNT,  /* v: live Gs | global queue << 32; local queues | idle Ps << 32; found by netpoll; hand-offs */
	TB_G,	   /* at the end, of a living G: v[0]: goid; v[1]: waits since, 0 = does not; name[16], reason[40] */
	TB_END,	   /* v[0]: 1 = the limit of size was reached */
};

struct trace_block {
	uint32_t magic, kind, p, size;
	int64_t ns; /* CLOCK_MONOTONIC and the CPU's counter, read together; RECS: 0 */
	uint64_t cycles;
	uint64_t v[4];
};

enum trace_kind {
	TR_RUN = 1, /* the G begins to run on this P */
	TR_STOP,    /* no G on this P from here on */
	TR_PARK,    /* the G that runs here begins to wait; arg: slot of the reason; when: as the next record */
	TR_SYSCALL, /* the G that ran here is in a system call, with the P in its hand */
	TR_READY,   /* the G was made runnable here */
	TR_PREEMPT, /* the time slice of the G that runs here is over */
	TR_HANDOFF, /* the P was taken from a system call, or given away for one */
};

struct trace_rec {
	uint64_t at;   /* counter of the CPU; 0: as the next */
	uint64_t what; /* goid << 16 | arg << 8 | enum trace_kind */
};

#define TRACE_CHUNK 16384u /* bytes; chunks are aligned to this */
#define TRACE_RECS  ((TRACE_CHUNK - sizeof(struct trace_block)) / sizeof(struct trace_rec))

/* Writes the raw trace as JSON in Chrome's Trace Event Format to fd. 0, or -1: this is no raw trace. */
int gmp_trace_json(const void *raw, size_t size, int fd);
