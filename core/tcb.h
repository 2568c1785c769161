// SPDX-License-Identifier: MIT
/*
 * The private layout of glibc's struct pthread, as far as a G needs it. Offsets in bytes from the thread
 * pointer. preload reads them from libc's _thread_db_* symbols, checks them on the main thread, and sets
 * gmp_tcb before the first G is made. An offset of 0 means: not known, the field is left alone.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct gmp_tls_module { /* a module in the static TLS block */
	ptrdiff_t offset; /* of its block from the thread pointer */
	const void *image;
	size_t filesz, memsz;
};

#define GMP_TLS_MODULES 256

struct gmp_tcb_layout {
	size_t list, tid, robust_prev, robust_head, cleanup, cleanup_jmp_buf, cancelhandling;
	size_t specific, specific_block, user_stack, setxid_futex, joinid, result;
	size_t specific_used; /* a flag of setspecific, seen to work; 0: not known */
	size_t res;	    /* struct __res_state; learnt from the sysmon thread */
	ptrdiff_t resp;	    /* TLS offset of __resp */
	ptrdiff_t rseq;	    /* of the rseq area, 0 = none */
	ptrdiff_t robust_futex_offset;
	const size_t *generation; /* ld.so's TLS generation; NULL = not known */
	size_t modules_generation; /* generation of modules[] */
	int nmodules;		   /* -1: too many, use init_tls */
	struct gmp_tls_module modules[GMP_TLS_MODULES];
	void (*init_tls)(void *tcb);	  /* _dl_allocate_tls_init */
	void (*read_modules)(void);	  /* fills nmodules and modules */
	void (*free)(void *);		  /* the program's free */
	void (*lock_list)(void), (*unlock_list)(void); /* around list insertion; NULL: lock not known */
	void *list_head;		  /* _dl_stack_user */
};

extern struct gmp_tcb_layout gmp_tcb;

struct g;
void gmp_tcb_birth(struct g *gp);	 /* after allocate_tls: fill all fields, link */
void gmp_tcb_renew(struct g *gp);	 /* before a recycled slot runs again */
void gmp_tcb_set_tid(struct g *gp, int tid);
int gmp_newtid(void);
