// SPDX-License-Identifier: MIT
/*
 * Fills `real` with libc's own functions. libc is the object that contains gnu_get_libc_version, which nobody
 * hooks; its symbols are read by DT_GNU_HASH and DT_VERSYM.
 */
#include "preload/resolve.h"

#include <gnu/libc-version.h>
#include <string.h>

#include "core/log.h"
#include "preload/hooks.h"

struct real real;
bool gmp_resolved;
struct elf_object gmp_libc;

static const char *version_name(const struct elf_object *o, unsigned ndx)
{
	const ElfW(Verdef) *vd = o->verdef;

	while (vd != NULL) {
		if (vd->vd_ndx == ndx) {
			const ElfW(Verdaux) *aux = (const void *)((const char *)vd + vd->vd_aux);
			return o->strtab + aux->vda_name;
		}
		vd = vd->vd_next ? (const void *)((const char *)vd + vd->vd_next) : NULL;
	}
	return "";
}

static uint32_t gnu_hash(const char *s)
{
	uint32_t h = 5381;

	for (; *s != '\0'; s++)
		h = h * 33 + (unsigned char)*s;
	return h;
}

const ElfW(Sym) * gmp_elf_sym(const struct elf_object *o, const char *name, const char *version)
{
	uint32_t nbuckets = o->gnu_hash[0], symoffset = o->gnu_hash[1], bloom_size = o->gnu_hash[2];
	const uint32_t *buckets = o->gnu_hash + 4 + bloom_size * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = buckets + nbuckets;
	uint32_t h = gnu_hash(name), i = buckets[h % nbuckets];

	if (i < symoffset)
		return NULL;
	for (;; i++) {
		const ElfW(Sym) *sym = &o->symtab[i];
		uint32_t link = chain[i - symoffset];

		if ((link | 1) == (h | 1) && sym->st_shndx != SHN_UNDEF &&
		    strcmp(o->strtab + sym->st_name, name) == 0) {
			unsigned ver = o->versym ? o->versym[i] : 1;

			/* bit 15: hidden, not the default version of the name */
			if (version == NULL ? !(ver & 0x8000) : strcmp(version_name(o, ver & 0x7fff), version) == 0)
				return sym;
		}
		if (link & 1)
			return NULL;
	}
}

void *gmp_elf_lookup(const struct elf_object *o, const char *name, const char *version)
{
	const ElfW(Sym) *sym = gmp_elf_sym(o, name, version);

	return sym == NULL ? NULL : (void *)(o->base + sym->st_value);
}

static int find_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t want = (uintptr_t)gnu_get_libc_version;
	const ElfW(Dyn) *dyn = NULL;
	bool inside = false;
	struct elf_object *o = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && want >= at && want < at + ph->p_memsz)
			inside = true;
		if (ph->p_type == PT_DYNAMIC)
			dyn = (const void *)at;
	}
	if (!inside || dyn == NULL)
		return 0;
	o->base = info->dlpi_addr;
	o->tls_modid = info->dlpi_tls_modid;
	o->tls_data = info->dlpi_tls_data;
	for (; dyn->d_tag != DT_NULL; dyn++) {
		uintptr_t p = dyn->d_un.d_ptr;

		if (p < o->base) /* ld.so relocates these; be safe where it does not */
			p += o->base;
		switch (dyn->d_tag) {
		case DT_SYMTAB:
			o->symtab = (const void *)p;
			break;
		case DT_STRTAB:
			o->strtab = (const void *)p;
			break;
		case DT_GNU_HASH:
			o->gnu_hash = (const void *)p;
			break;
		case DT_VERSYM:
			o->versym = (const void *)p;
			break;
		case DT_VERDEF:
			o->verdef = (const void *)p;
			break;
		}
	}
	return 1;
}

static void *must(const char *name, const char *version)
{
	void *fn = gmp_elf_lookup(&gmp_libc, name, version);

	if (fn == NULL && version != NULL)
		fn = gmp_elf_lookup(&gmp_libc, name, NULL);
	if (fn == NULL)
		gmp_log("libc has no %s%s%s: calls to it will fail", name, version ? "@" : "", version ? version : "");
	return fn;
}

void gmp_resolve(void)
{
	if (gmp_resolved)
		return;
	dl_iterate_phdr(find_libc, &gmp_libc);
	if (gmp_libc.gnu_hash == NULL)
		gmp_throw("cannot read libc's symbol table");
#define HOOK(name, version, class) real.name = (__typeof__(real.name))must(#name, version);
#include "preload/hooks.def"
#undef HOOK
#define REAL(name, version) real.name = (__typeof__(real.name))must(#name, version);
#include "preload/real.def"
#undef REAL
	gmp_resolved = true;
}
