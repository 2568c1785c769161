// SPDX-License-Identifier: MIT
/* See image.h. Modules are what /proc/self/maps lists with an ELF header at the start of a file. */
#include <fcntl.h> /* also struct iovec */
#include <linux/elf.h>
#include <linux/stat.h>
#include <sys/mman.h>

#include "core/gmp.h"
#include "core/image.h"

#define STT_GNU_IFUNC 10

#define MAX_MODULES 512
#define PAGE	    4096u
#define CACHE_PAGES 64u

struct image {
	int nmodules;
	bool no_readv; /* process_vm_readv is not allowed here: by /proc/self/mem */
	int mem_fd;
	struct gmp_module modules[MAX_MODULES];
	uintptr_t tag[CACHE_PAGES]; /* page number + 1 */
	char page[CACHE_PAGES][PAGE];
	char text[1 << 16]; /* of /proc/self/maps */
};

static struct image *img;

/* --- memory --- */

static bool read_page(char *to, uintptr_t from)
{
	struct iovec local = {to, PAGE}, remote = {(void *)from, PAGE};
	long rc;

	if (!img->no_readv) {
		rc = sys6(__NR_process_vm_readv, sys_getpid(), &local, 1, &remote, 1, 0);
		if (rc != -1 /* EPERM */ && rc != -38 /* ENOSYS */)
			return rc == (long)PAGE;
		img->no_readv = true;
		img->mem_fd = (int)sys4(__NR_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
	}
	return img->mem_fd >= 0 && sys4(__NR_pread64, img->mem_fd, to, PAGE, from) == (long)PAGE;
}

bool gmp_peek(void *to, uintptr_t from, size_t n)
{
	char *out = to;

	while (n > 0) {
		uintptr_t page = from / PAGE;
		uint32_t slot = (uint32_t)page % CACHE_PAGES;
		size_t at = from % PAGE, len = PAGE - at < n ? PAGE - at : n;

		if (img->tag[slot] != page + 1) {
			img->tag[slot] = 0;
			if (!read_page(img->page[slot], page * PAGE))
				return false;
			img->tag[slot] = page + 1;
		}
		__builtin_memcpy(out, img->page[slot] + at, len);
		out += len;
		from += len;
		n -= len;
	}
	return true;
}

/* --- modules --- */

static uintptr_t hex(const char **s)
{
	uintptr_t v = 0;

	for (;; ++*s) {
		char c = **s;

		if (c >= '0' && c <= '9')
			v = v * 16 + (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (uintptr_t)(c - 'a' + 10);
		else
			return v;
	}
}

static void skip_word(const char **s)
{
	while (**s != ' ' && **s != '\0')
		++*s;
	while (**s == ' ')
		++*s;
}

/* A mapping of the beginning of a file, at lo: a module if an ELF header is there. */
static void add_module(uintptr_t lo, uint64_t inode, const char *path)
{
	struct gmp_module *mod = &img->modules[img->nmodules];
	Elf64_Ehdr eh;
	bool first = true;

	if (img->nmodules == MAX_MODULES || !gmp_peek(&eh, lo, sizeof(eh)) ||
	    __builtin_memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_phentsize != sizeof(Elf64_Phdr))
		return;
	*mod = (struct gmp_module){.lo = lo, .inode = inode};
	for (int i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		if (!gmp_peek(&ph, lo + eh.e_phoff + (size_t)i * sizeof(ph), sizeof(ph)))
			return;
		if (ph.p_type == PT_LOAD) {
			if (first)
				mod->bias = lo - (ph.p_vaddr & -(uintptr_t)PAGE);
			first = false;
			if (mod->bias + ph.p_vaddr + ph.p_memsz > mod->hi)
				mod->hi = mod->bias + ph.p_vaddr + ph.p_memsz;
		} else if (ph.p_type == PT_GNU_EH_FRAME) {
			mod->eh_hdr = ph.p_vaddr;
		}
	}
	if (mod->eh_hdr != 0)
		mod->eh_hdr += mod->bias;
	for (size_t i = 0; i + 1 < sizeof(mod->path) && path[i] != '\0'; i++)
		mod->path[i] = path[i];
	img->nmodules++;
}

/* address-address perms offset dev inode path */
static void read_line(const char *s)
{
	uintptr_t lo = hex(&s), offset;
	uint64_t inode = 0;

	skip_word(&s);
	skip_word(&s);
	offset = hex(&s);
	skip_word(&s);
	skip_word(&s);
	for (; *s >= '0' && *s <= '9'; s++)
		inode = inode * 10 + (uint64_t)(*s - '0');
	while (*s == ' ')
		s++;
	if (offset == 0 && *s != '\0' && (inode != 0 || (s[0] == '[' && s[1] == 'v' && s[2] == 'd')))
		add_module(lo, inode, s);
}

static void read_maps(void)
{
	int fd = (int)sys4(__NR_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	size_t have = 0;
	long n;

	if (fd < 0)
		return; /* no descriptor to be had: stacks without names */
	while ((n = sys3(__NR_read, fd, img->text + have, sizeof(img->text) - 1 - have)) > 0) {
		size_t at = 0;

		have += (size_t)n;
		for (size_t i = 0; i < have; i++)
			if (img->text[i] == '\n') {
				img->text[i] = '\0';
				read_line(img->text + at);
				at = i + 1;
			}
		for (size_t i = at; i < have; i++)
			img->text[i - at] = img->text[i];
		have -= at;
		if (have == sizeof(img->text) - 1)
			have = 0;
	}
	sys1(__NR_close, fd);
}

bool gmp_image_open(void)
{
	img = gmp_mmap(sizeof(*img));
	if (img == NULL)
		return false;
	img->mem_fd = -1;
	read_maps();
	return true;
}

void gmp_image_close(void)
{
	for (int i = 0; i < img->nmodules; i++)
		if (img->modules[i].file != NULL)
			gmp_munmap((void *)(uintptr_t)img->modules[i].file, img->modules[i].file_size);
	if (img->mem_fd >= 0)
		sys1(__NR_close, img->mem_fd);
	gmp_munmap(img, sizeof(*img));
	img = NULL;
}

struct gmp_module *gmp_module_of(uintptr_t pc)
{
	for (int i = 0; i < img->nmodules; i++)
		if (pc >= img->modules[i].lo && pc < img->modules[i].hi)
			return &img->modules[i];
	return NULL;
}

/* --- symbols --- */

/* The file must be the one that is mapped, not its successor of the same name. */
static const char *map_file(const struct gmp_module *mod, size_t *ret_size)
{
	struct statx st;
	long fd = sys4(__NR_openat, AT_FDCWD, mod->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0), p = -1;

	if (fd < 0)
		return NULL;
	if (sys5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_INO | STATX_SIZE, &st) == 0 && st.stx_ino == mod->inode &&
	    st.stx_size > sizeof(Elf64_Ehdr)) {
		*ret_size = st.stx_size;
		p = sys6(__NR_mmap, 0, st.stx_size, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	sys1(__NR_close, fd);
	return p < 0 && p > -4096 ? NULL : (const char *)p;
}

static bool inside(const struct gmp_module *mod, uint64_t at, uint64_t n)
{
	return at <= mod->file_size && n <= mod->file_size - at;
}

/* .symtab, which has static functions too, else .dynsym. */
static void find_symbols(struct gmp_module *mod)
{
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh, *best = NULL;

	mod->looked = true;
	if (mod->inode == 0)
		return;
	mod->file = map_file(mod, &mod->file_size);
	if (mod->file == NULL)
		return;
	eh = (const void *)mod->file;
	sh = (const void *)(mod->file + eh->e_shoff);
	if (eh->e_shentsize != sizeof(*sh) || !inside(mod, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(*sh)))
		return;
	for (int i = 0; i < eh->e_shnum; i++)
		if ((sh[i].sh_type == SHT_SYMTAB || (sh[i].sh_type == SHT_DYNSYM && best == NULL)) &&
		    sh[i].sh_link < eh->e_shnum)
			best = &sh[i];
	if (best == NULL || !inside(mod, best->sh_offset, best->sh_size) ||
	    !inside(mod, sh[best->sh_link].sh_offset, sh[best->sh_link].sh_size))
		return;
	mod->symbols = mod->file + best->sh_offset;
	mod->nsymbols = best->sh_size / sizeof(Elf64_Sym);
	mod->names = mod->file + sh[best->sh_link].sh_offset;
	mod->names_size = sh[best->sh_link].sh_size;
}

const char *gmp_symbol(struct gmp_module *mod, uintptr_t pc, uintptr_t *ret_offset)
{
	const Elf64_Sym *sym, *best = NULL;
	uintptr_t addr = pc - mod->bias;

	if (!mod->looked)
		find_symbols(mod);
	sym = (const void *)mod->symbols;
	for (size_t i = 0; i < mod->nsymbols; i++) {
		int type = ELF_ST_TYPE(sym[i].st_info);

		if ((type == STT_FUNC || type == STT_GNU_IFUNC || (type == STT_NOTYPE && sym[i].st_size != 0)) &&
		    sym[i].st_shndx != SHN_UNDEF && addr >= sym[i].st_value &&
		    addr - sym[i].st_value < sym[i].st_size && sym[i].st_name < mod->names_size &&
		    (best == NULL || (ELF_ST_BIND(best->st_info) == STB_LOCAL &&
				      ELF_ST_BIND(sym[i].st_info) != STB_LOCAL)))
			best = &sym[i];
	}
	if (best == NULL)
		return NULL;
	*ret_offset = addr - best->st_value;
	return mod->names + best->st_name;
}
