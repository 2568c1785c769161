// SPDX-License-Identifier: MIT
/*
 * This process as a debugger sees it: memory that may not be there, the modules it is made of, and their symbols. No
 * malloc, no locks, no libc; one thread at a time, between gmp_image_open and gmp_image_close.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gmp_module {
	uintptr_t lo, hi;      /* where it is mapped */
	uintptr_t bias;	       /* added to the addresses in the file */
	uintptr_t eh_hdr;      /* its .eh_frame_hdr; 0 = none */
	uint64_t inode;
	const char *symbols;   /* Elf64_Sym; NULL: not looked for yet, or none */
	const char *names;
	size_t nsymbols, names_size;
	const char *file;      /* the mapped file */
	size_t file_size;
	bool looked;
	char path[192];
};

bool gmp_image_open(void); /* false: no memory */
void gmp_image_close(void);
bool gmp_peek(void *to, uintptr_t from, size_t n); /* false: (partly) not readable */
struct gmp_module *gmp_module_of(uintptr_t pc);	   /* NULL: none */
/* The function at pc and the distance from its start; NULL: not known. */
const char *gmp_symbol(struct gmp_module *mod, uintptr_t pc, uintptr_t *ret_offset);
