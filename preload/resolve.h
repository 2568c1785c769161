// SPDX-License-Identifier: MIT
/* Symbols of libc and ld.so, found in their own tables: no dlsym (it allocates, and "next" may be a wrapper). */
#pragma once
#include <link.h>
#include <stddef.h>
#include <stdint.h>

struct elf_object {
	uintptr_t base;
	const ElfW(Sym) *symtab;
	const char *strtab;
	const uint32_t *gnu_hash;
	const ElfW(Half) *versym;
	const ElfW(Verdef) *verdef;
	size_t tls_modid;
	void *tls_data; /* of the thread that asked */
};

extern struct elf_object gmp_libc;

/* version NULL: the default one. NULL when there is none. */
const ElfW(Sym) *gmp_elf_sym(const struct elf_object *o, const char *name, const char *version);
void *gmp_elf_lookup(const struct elf_object *o, const char *name, const char *version);
