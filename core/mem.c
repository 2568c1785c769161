// SPDX-License-Identifier: MIT
/* Memory of the runtime's own: mmap, and a bump allocator for what lives for ever (Go's persistentalloc). */
#include <sys/mman.h>

#include "core/gmp.h"
#include "core/log.h"

#define CHUNK ((size_t)256 << 10)

static struct lock mem_lock;
static char *chunk, *chunk_end;

void *gmp_mmap(size_t size)
{
	long p = sys6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1, 0);
	return p < 0 && p > -4096 ? NULL : (void *)p;
}

void gmp_munmap(void *p, size_t size)
{
	sys2(__NR_munmap, p, size);
}

void *gmp_persistentalloc(size_t size, size_t align)
{
	char *p;

	if (size >= CHUNK / 4)
		return gmp_mmap((size + sched.page_size - 1) & -sched.page_size);
	gmp_enter();
	gmp_lock(&mem_lock);
	p = (char *)(((uintptr_t)chunk + align - 1) & -(uintptr_t)align);
	if (chunk == NULL || p + size > chunk_end) {
		p = gmp_mmap(CHUNK);
		if (p != NULL) {
			chunk = p;
			chunk_end = p + CHUNK;
		}
	}
	if (p != NULL)
		chunk = p + size;
	gmp_unlock(&mem_lock);
	gmp_leave();
	return p;
}

void gmp_mem_fork_child(void)
{
	mem_lock = (struct lock){0};
	/* Another thread may have been between the two stores: start a new chunk. */
	chunk = chunk_end = NULL;
}
