// SPDX-License-Identifier: MIT
/*
 * A glibc identity for a G (DESIGN.md section 2). A slot gets its TLS block and TCB once, at birth. Each
 * further life renews them: dynamic TLS is freed, the static blocks of all modules but libc's and ours
 * get their initial images again. libc's own block is kept with its tcache and arena; the few words of
 * it that a thread must find fresh (errno, locale, ctype) are set by the new G itself (preload/thread.c).
 *
 * Everything here runs on the creator's G or on a foreign thread: it calls the program's malloc and free.
 */
#include "core/tcb.h"

#include "core/gmp.h"

#define FIELD(gp, off, type) (*(type *)((gp)->tcb + (off)))

/* Above the kernel's largest pid_max (2^22), below the futex owner word's flag bits (2^30). */
#define TID_FIRST (1 << 22)
#define TID_LAST (1 << 30)

struct gmp_tcb_layout gmp_tcb;

struct dtv_entry {
	union {
		size_t counter;
		void *val;
	};
	void *to_free;
};

int gmp_newtid(void)
{
	/* relaxed: only uniqueness matters */
	uint32_t n = (uint32_t)atomic_fetch_add_explicit(&sched.tidgen, 1, memory_order_relaxed);

	return TID_FIRST + 1 + (int)(n % (TID_LAST - TID_FIRST - 1));
}

void gmp_tcb_set_tid(struct g *gp, int tid)
{
	gp->tid = tid;
	FIELD(gp, gmp_tcb.tid, int) = tid;
	gp->tls->tid = tid;
}

static void self_loop(struct g *gp)
{
	void **list = (void **)(gp->tcb + gmp_tcb.list);
	list[0] = list[1] = list;
}

static void reset_fields(struct g *gp)
{
	char *head = gp->tcb + gmp_tcb.robust_head;

	FIELD(gp, gmp_tcb.robust_prev, void *) = head;
	FIELD(gp, gmp_tcb.robust_head, void *) = head;
	FIELD(gp, gmp_tcb.robust_head + 8, long) = gmp_tcb.robust_futex_offset;
	FIELD(gp, gmp_tcb.robust_head + 16, void *) = NULL;
	FIELD(gp, gmp_tcb.cleanup, void *) = NULL;
	FIELD(gp, gmp_tcb.cleanup_jmp_buf, void *) = NULL;
	FIELD(gp, gmp_tcb.cancelhandling, int) = 0;
	FIELD(gp, gmp_tcb.user_stack, char) = 1;
	FIELD(gp, gmp_tcb.setxid_futex, int) = -1;
	FIELD(gp, gmp_tcb.joinid, void *) = NULL;
	gp->tls->g = gp;
	gp->tls->inshim = 1; /* a G begins inside the shim: its entry leaves it */
	gp->tls->deferred = 0;
	gp->tls->pstolen = 0;
}

void gmp_tcb_birth(struct g *gp)
{
	arch_tcb_init(gp->tcb, (const void *)arch_get_tp());
	FIELD(gp, gmp_tcb.specific, void *) = gp->tcb + gmp_tcb.specific_block;
	self_loop(gp);
	reset_fields(gp);
	if (gmp_tcb.resp != 0 && gmp_tcb.res != 0)
		FIELD(gp, gmp_tcb.resp, void *) = gp->tcb + gmp_tcb.res;
	if (gmp_tcb.rseq != 0)
		FIELD(gp, gmp_tcb.rseq + 4, int) = -2; /* cpu_id: RSEQ_CPU_ID_REGISTRATION_FAILED */
	if (gmp_tcb.lock_list != NULL) {
		void **list = (void **)(gp->tcb + gmp_tcb.list), **head = gmp_tcb.list_head, **next;

		gmp_tcb.lock_list();
		next = head[0];
		list[0] = next;
		list[1] = head;
		next[1] = list;
		/* release: a reader that follows the list sees a whole node (glibc's list_add does the same) */
		atomic_store_explicit((void *_Atomic *)head, list, memory_order_release);
		gmp_tcb.unlock_list();
	}
	gp->tls_fresh = true;
}

static void free_dynamic_tls(struct dtv_entry *dtv)
{
	size_t len = dtv[-1].counter;

	for (size_t i = 1; i <= len; i++)
		if (dtv[i].to_free != NULL) {
			void *block = dtv[i].to_free;

			dtv[i].to_free = NULL;
			dtv[i].val = (void *)-1l; /* TLS_DTV_UNALLOCATED */
			gmp_tcb.free(block);
		}
}

void gmp_tcb_renew(struct g *gp)
{
	struct dtv_entry *dtv = *arch_tcb_dtv(gp->tcb);
	size_t gen = gmp_tcb.generation != NULL ? *gmp_tcb.generation : 0;

	free_dynamic_tls(dtv);
	if (unlikely(gen != gmp_tcb.modules_generation || gmp_tcb.generation == NULL))
		gmp_tcb.read_modules();
	for (int i = 0; i < gmp_tcb.nmodules; i++) {
		struct gmp_tls_module *tm = &gmp_tcb.modules[i];
		char *block = gp->tcb + tm->offset;

		__builtin_memcpy(block, tm->image, tm->filesz);
		__builtin_memset(block + tm->filesz, 0, tm->memsz - tm->filesz);
	}
	reset_fields(gp);
	gp->tls_fresh = false;
}
