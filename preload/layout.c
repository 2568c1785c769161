// SPDX-License-Identifier: MIT
/*
 * Reads the layout of glibc's struct pthread from the _thread_db_* descriptions that libc exports for its debugger
 * library, derives the neighbours of those fields, and checks every guess on the main thread. What fails the check
 * turns the whole scheduler off: it never half-works.
 */
#include <link.h>
#include <string.h>

#include "core/tcb.h"
#include "preload/preload.h"
#include "preload/resolve.h"

/* ld.so's, GLIBC_PRIVATE. Weak: a missing one must reach the check below, not end the program in ld.so. */
extern void *_dl_allocate_tls(void *mem) __attribute__((weak));
extern void *_dl_allocate_tls_init(void *tcb, bool init_tls) __attribute__((weak));
extern void _dl_get_tls_static_info(size_t *size, size_t *align) __attribute__((weak));
extern char _rtld_global[] __attribute__((weak));
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

/* pthread_mutex_t: from the list node of a robust mutex back to its futex word */
#define ROBUST_FUTEX_OFFSET                           \
	((ptrdiff_t)offsetof(pthread_mutex_t, __data.__lock) - \
	 (ptrdiff_t)offsetof(pthread_mutex_t, __data.__list.__next))
#define KEY_BLOCK_SIZE ((size_t)32 * 16) /* PTHREAD_KEY_2NDLEVEL_SIZE entries of {seq, data} */
#define GENERATION_AFTER_SLOTINFO 40	 /* glibc 2.34 - 2.36, ldsodefs.h */
#define INITIAL_DTV_AFTER_SLOTINFO 32
#define LOCK_AFTER_STACK_USER 48

/* A _thread_db_ description: {bits, count, offset}. 0: not there. */
static size_t db_offset(const char *name)
{
	const uint32_t *d = gmp_elf_lookup(&gmp_libc, name, NULL);

	return d == NULL ? 0 : d[2];
}

static void *field(const char *tcb, size_t off)
{
	return *(void *const *)(tcb + off);
}

static void init_tls(void *tcb)
{
	_dl_allocate_tls_init(tcb, true);
}

static int read_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *tcb = arg;
	uintptr_t low = (uintptr_t)tcb - (gmp_host.tls_size - gmp_host.tcb_size), at = (uintptr_t)info->dlpi_tls_data;

	(void)size;
	if (info->dlpi_tls_modid == 0 || info->dlpi_tls_modid == gmp_libc.tls_modid || at < low || at >= (uintptr_t)tcb)
		return 0; /* none, libc's own (kept), or dynamic */
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		struct gmp_tls_module *tm;

		if (ph->p_type != PT_TLS || ((uintptr_t)&gmp_tls >= at && (uintptr_t)&gmp_tls < at + ph->p_memsz))
			continue;
		if (gmp_tcb.nmodules == GMP_TLS_MODULES)
			return 1;
		tm = &gmp_tcb.modules[gmp_tcb.nmodules++];
		tm->offset = (ptrdiff_t)(at - (uintptr_t)tcb);
		tm->image = (const void *)(info->dlpi_addr + ph->p_vaddr);
		tm->filesz = ph->p_filesz;
		tm->memsz = ph->p_memsz;
	}
	return 0;
}

static struct lock modules_lock; /* two creators at once; rank above all */

/* A thread of the parent may have been reading: modules_generation, set last, says whether it was done. */
void gmp_layout_fork_child(void)
{
	modules_lock = (struct lock){0};
}

/* On a G or foreign thread: the static TLS modules as they are. dl_iterate_phdr takes ld.so's lock. */
static void read_modules(void)
{
	size_t gen = gmp_tcb.generation != NULL ? *gmp_tcb.generation : 0;

	while (!gmp_trylock(&modules_lock))
		sys_yield();
	if (gen != gmp_tcb.modules_generation || gmp_tcb.generation == NULL) {
		gmp_tcb.nmodules = 0;
		dl_iterate_phdr(read_module, (void *)arch_get_tp());
		gmp_tcb.modules_generation = gen;
	}
	gmp_unlock(&modules_lock);
}

/* glibc's low-level lock around its thread lists: 0 free, 1 held, 2 held with waiters. */
static _Atomic(uint32_t) *list_lock;

static void lock_list(void)
{
	uint32_t zero = 0;

	if (atomic_compare_exchange_strong(list_lock, &zero, 1))
		return;
	while (atomic_exchange(list_lock, 2) != 0)
		sys_futex_wait(list_lock, 2, -1);
}

static void unlock_list(void)
{
	if (atomic_exchange(list_lock, 0) == 2)
		sys_futex_wake(list_lock, 1);
}

const char *gmp_layout_init(void)
{
	char *tcb = (char *)arch_get_tp();
	const uint32_t *size = gmp_elf_lookup(&gmp_libc, "_thread_db_sizeof_pthread", NULL);
	size_t slotinfo = db_offset("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list");
	size_t stack_user = db_offset("_thread_db_rtld_global__dl_stack_user"), end;
	const ElfW(Sym) *resp = gmp_elf_sym(&gmp_libc, "__resp", NULL);
	void **dtv;

	if (!_dl_allocate_tls || !_dl_allocate_tls_init || !_dl_get_tls_static_info || !_rtld_global || !size)
		return "this libc does not export what a thread control block needs";
	gmp_tcb.tid = db_offset("_thread_db_pthread_tid");
	gmp_tcb.list = db_offset("_thread_db_pthread_list");
	gmp_tcb.specific = db_offset("_thread_db_pthread_specific");
	gmp_tcb.cancelhandling = db_offset("_thread_db_pthread_cancelhandling");
	if (!gmp_tcb.tid || !gmp_tcb.list || !gmp_tcb.specific || !gmp_tcb.cancelhandling || !slotinfo || !stack_user)
		return "libc's _thread_db_ descriptions are missing";
	/* struct pthread, nptl/descr.h: neighbours of the described fields */
	gmp_tcb.robust_prev = gmp_tcb.tid + 8;
	gmp_tcb.robust_head = gmp_tcb.tid + 16;
	gmp_tcb.cleanup = gmp_tcb.cancelhandling - 16;
	gmp_tcb.cleanup_jmp_buf = gmp_tcb.cancelhandling - 8;
	gmp_tcb.specific_block = gmp_tcb.specific - KEY_BLOCK_SIZE;
	end = gmp_tcb.specific + 32 * sizeof(void *);
	gmp_tcb.user_stack = end + 2;
	gmp_tcb.setxid_futex = end + 12;
	gmp_tcb.joinid = end + 16;
	gmp_tcb.result = end + 24;
	gmp_tcb.robust_futex_offset = ROBUST_FUTEX_OFFSET;

	/* the same on the main thread */
	if (*(int *)(tcb + gmp_tcb.tid) != sys_gettid())
		return "the thread id is not where libc says it is";
	if (field(tcb, 0) != tcb || field(tcb, gmp_tcb.robust_head) != tcb + gmp_tcb.robust_head ||
	    *(ptrdiff_t *)(tcb + gmp_tcb.robust_head + 8) != ROBUST_FUTEX_OFFSET)
		return "the robust list is not where it should be in the thread control block";
	if (field(tcb, gmp_tcb.specific) != tcb + gmp_tcb.specific_block)
		return "thread-specific data is not where it should be in the thread control block";
	if (tcb[gmp_tcb.user_stack] != 1 || db_offset("_thread_db_pthread_schedpolicy") != end + 36)
		return "the thread control block has another layout than glibc 2.34 to 2.36";
	if (gmp_tcb.cleanup_jmp_buf != gmp_tcb.robust_head + 32)
		return "the clean-up list is not where it should be in the thread control block";

	_dl_get_tls_static_info(&gmp_host.tls_size, &gmp_host.tls_align);
	gmp_host.tcb_size = *size;
	if (gmp_host.tls_align < 64)
		gmp_host.tls_align = 64;
	gmp_host.tls_size = (gmp_host.tls_size + gmp_host.tls_align - 1) & -gmp_host.tls_align;
	if (gmp_host.tls_size < gmp_host.tcb_size || gmp_host.tls_size > (1 << 20))
		return "the size of the static TLS block makes no sense";
	gmp_host.shim_tls_offset = (char *)&gmp_tls - tcb;
	if (gmp_host.shim_tls_offset >= 0 || (size_t)-gmp_host.shim_tls_offset > gmp_host.tls_size)
		return "the library's own TLS is not in the static block";
	gmp_host.allocate_tls = _dl_allocate_tls;

	/* Optional knowledge; each is used only where the check holds. */
	if (resp != NULL && gmp_libc.tls_data != NULL)
		gmp_tcb.resp = (char *)gmp_libc.tls_data + resp->st_value - tcb;
	if (&__rseq_size != NULL && &__rseq_offset != NULL)
		gmp_tcb.rseq = __rseq_offset;
	dtv = arch_tcb_dtv(tcb);
	if (field(_rtld_global, slotinfo + INITIAL_DTV_AFTER_SLOTINFO) == *dtv)
		gmp_tcb.generation = (const size_t *)(_rtld_global + slotinfo + GENERATION_AFTER_SLOTINFO);
	list_lock = (_Atomic(uint32_t) *)(_rtld_global + stack_user + LOCK_AFTER_STACK_USER);
	if (gmp_tcb.generation != NULL && *list_lock == 0) {
		gmp_tcb.list_head = _rtld_global + stack_user;
		gmp_tcb.lock_list = lock_list;
		gmp_tcb.unlock_list = unlock_list;
	}
	gmp_tcb.init_tls = init_tls;
	gmp_tcb.read_modules = read_modules;
	gmp_tcb.modules_generation = SIZE_MAX;
	gmp_tcb.free = free;
	return NULL;
}

/* A thread that glibc made: its resolver state is inside its struct pthread, the offset is the same for all. */
void gmp_layout_from_thread(void)
{
	char *tcb = (char *)arch_get_tp(), *res = gmp_tcb.resp ? *(char **)(tcb + gmp_tcb.resp) : NULL;

	if (res > tcb && res < tcb + gmp_host.tcb_size)
		gmp_tcb.res = (size_t)(res - tcb);
}
