// SPDX-License-Identifier: MIT
/*
 * Stack traces of any G through libunwind's generic interface: this process is treated as a foreign one, whose memory
 * is read by core/image.c and cannot fault. The library is opened on first need, RTLD_LOCAL: no symbol of it may stand
 * before libgcc_s's. On sysmon only.
 */
#include <dlfcn.h>
#include <string.h>

#include "core/image.h"
#include "preload/preload.h"

#if defined(__has_include) && __has_include(<libunwind.h>)
#include <libunwind.h>

/* The functions' real names carry the CPU's: _Ux86_64_step. */
#define STR2(x) #x
#define STR(x) STR2(x)
#define LIB "libunwind-" STR(UNW_TARGET) ".so.8"

static struct {
	__typeof__(unw_create_addr_space) *create;
	__typeof__(unw_set_caching_policy) *cache;
	__typeof__(unw_flush_cache) *flush;
	__typeof__(unw_init_remote) *init;
	__typeof__(unw_step) *step;
	__typeof__(unw_get_reg) *get;
	int (*search)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);
	unw_addr_space_t space;
	bool tried;
} lib;

int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);

/* The binary search table behind .eh_frame_hdr, in the one encoding that linkers write. */
static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need, void *arg)
{
	struct gmp_module *mod = gmp_module_of(ip);
	struct {
		uint8_t version, eh_frame, count, table;
		int32_t eh_frame_ptr;
		uint32_t n;
	} hdr;
	unw_dyn_info_t di;

	if (mod == NULL || mod->eh_hdr == 0 || !gmp_peek(&hdr, mod->eh_hdr, sizeof(hdr)) || hdr.version != 1 ||
	    hdr.count != 0x03 || hdr.table != 0x3b)
		return -UNW_ENOINFO;
	memset(&di, 0, sizeof(di));
	di.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	di.start_ip = mod->lo;
	di.end_ip = mod->hi;
	di.u.rti.segbase = mod->eh_hdr;
	di.u.rti.table_data = mod->eh_hdr + sizeof(hdr);
	di.u.rti.table_len = hdr.n * 8 / sizeof(unw_word_t);
	return lib.search(as, ip, &di, pi, need, arg);
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as;
	(void)pi;
	(void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t as, unw_word_t *dil, void *arg)
{
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val, int write, void *arg)
{
	return !write && gmp_peek(val, addr, sizeof(*val)) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *val, int write, void *arg)
{
	const struct arch_regs *regs = arg;

	if (write || reg < 0 || reg >= ARCH_NREGS)
		return -UNW_EBADREG;
	*val = regs->r[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *val, int write, void *arg)
{
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *c, void *arg)
{
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t addr, char *buf, size_t len, unw_word_t *off, void *arg)
{
	return -UNW_ENOINFO;
}

bool gmp_unwinder_open(void)
{
	static unw_accessors_t acc = {
		.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = get_dyn_info_list_addr,
		.access_mem = access_mem,
		.access_reg = access_reg,
		.access_fpreg = access_fpreg,
		.resume = resume,
		.get_proc_name = get_proc_name,
	};
	void *h;

	if (lib.tried) {
		if (lib.space != NULL)
			lib.flush(lib.space, 0, 0); /* modules may have come and gone since the last dump */
		return lib.space != NULL;
	}
	lib.tried = true;
	h = real.dlopen(LIB, RTLD_NOW | RTLD_LOCAL);
	if (h == NULL)
		return false;
	lib.create = dlsym(h, STR(unw_create_addr_space));
	lib.cache = dlsym(h, STR(unw_set_caching_policy));
	lib.flush = dlsym(h, STR(unw_flush_cache));
	lib.init = dlsym(h, STR(unw_init_remote));
	lib.step = dlsym(h, STR(unw_step));
	lib.get = dlsym(h, STR(unw_get_reg));
	lib.search = dlsym(h, STR(UNW_OBJ(dwarf_search_unwind_table)));
	if (!lib.create || !lib.cache || !lib.flush || !lib.init || !lib.step || !lib.get || !lib.search)
		return false;
	lib.space = lib.create(&acc, 0);
	if (lib.space != NULL)
		lib.cache(lib.space, UNW_CACHE_GLOBAL);
	return lib.space != NULL;
}

int gmp_unwinder_trace(const struct arch_regs *regs, uintptr_t *pcs, int max)
{
	unw_cursor_t cursor;
	unw_word_t pc;
	int n = 0;

	if (lib.init(&cursor, lib.space, (void *)(uintptr_t)regs) < 0)
		return 0;
	do {
		if (lib.get(&cursor, UNW_REG_IP, &pc) < 0 || pc == 0)
			break;
		pcs[n++] = pc;
	} while (n < max && lib.step(&cursor) > 0);
	return n;
}

#else

bool gmp_unwinder_open(void)
{
	return false;
}

int gmp_unwinder_trace(const struct arch_regs *regs, uintptr_t *pcs, int max)
{
	return 0;
}

#endif
