// SPDX-License-Identifier: MIT
/*
 * Thread-specific data. The values live in libc's own TCB, so pthread_getspecific and pthread_setspecific need no hook.
 * libc's destructor loop is hidden: destructors are recorded here when a key is made, and run when a G ends.
 */
#include <limits.h>
#include <string.h>

#include "core/tcb.h"
#include "preload/preload.h"

#define BLOCK 32u /* keys per second-level block */

struct key_data { /* glibc: struct pthread_key_data */
	uintptr_t seq;
	void *data;
};

struct key {
	_Atomic(uintptr_t) seq; /* libc's: odd while the key exists */
	void (*_Atomic destructor)(void *);
};

static struct key keys[PTHREAD_KEYS_MAX];
static _Atomic(uint32_t) nkeys; /* keys below it may exist */

static struct key_data *entry(char *tcb, uint32_t k)
{
	struct key_data *block = ((struct key_data **)(tcb + gmp_tcb.specific))[k / BLOCK];

	return block == NULL ? NULL : &block[k % BLOCK];
}

static int key_create(int (*create)(pthread_key_t *, void (*)(void *)), pthread_key_t *key, void (*destructor)(void *))
{
	int rc = create(key, destructor);
	struct key_data *e;
	uint32_t n = nkeys;

	if (rc != 0 || sched.maing == NULL || *key >= PTHREAD_KEYS_MAX || destructor == NULL)
		return rc;
	/* libc's sequence number of the key is seen in a value of it. */
	if (real.pthread_setspecific(*key, &keys[*key]) != 0)
		return rc; /* no memory: no thread of this key will have a value either */
	e = entry((char *)arch_get_tp(), *key);
	atomic_store_explicit(&keys[*key].destructor, destructor, memory_order_relaxed); /* seq publishes it */
	atomic_store_explicit(&keys[*key].seq, e->seq, memory_order_release);
	real.pthread_setspecific(*key, NULL);
	while (n <= *key && !atomic_compare_exchange_weak(&nkeys, &n, *key + 1))
		;
	return rc;
}

int hook_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	return key_create(PASS(pthread_key_create), key, destructor);
}

int hook___pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	return key_create(PASS(__pthread_key_create), key, destructor);
}

int hook_tss_create(tss_t *key, tss_dtor_t destructor)
{
	if (!gmp_resolved)
		gmp_resolve();
	return key_create(real.pthread_key_create, key, destructor) == 0 ? thrd_success : thrd_error;
}

int hook_pthread_key_delete(pthread_key_t key)
{
	if (key < PTHREAD_KEYS_MAX)
		atomic_store_explicit(&keys[key].seq, 0, memory_order_relaxed); /* libc's number grows on reuse */
	return PASS(pthread_key_delete)(key);
}

void hook_tss_delete(tss_t key)
{
	hook_pthread_key_delete(key);
}

/*
 * libc notes in the TCB that a thread has set a value, in a byte behind the table of second-level blocks. It saves
 * most threads a walk over keys and cache lines that they never touched, so see whether it is there.
 */
void gmp_tsd_live(void)
{
	size_t offset = gmp_tcb.specific + PTHREAD_KEYS_MAX / BLOCK * sizeof(struct key_data *);
	volatile char *used = (char *)arch_get_tp() + offset;
	char before = *used;
	pthread_key_t key;

	if (real.pthread_key_create(&key, NULL) != 0)
		return;
	*used = 0;
	if (real.pthread_setspecific(key, NULL) == 0 && *used == 0 && real.pthread_setspecific(key, &key) == 0 &&
	    *used == 1)
		gmp_tcb.specific_used = offset;
	real.pthread_setspecific(key, NULL);
	real.pthread_key_delete(key);
	*used = before;
}

/* On gp, as nptl_deallocate_tsd: at most PTHREAD_DESTRUCTOR_ITERATIONS rounds over all keys. */
void gmp_tsd_run_destructors(struct g *gp)
{
	struct key_data **specific = (struct key_data **)(gp->tcb + gmp_tcb.specific);
	bool again = true;

	if (gmp_tcb.specific_used != 0 && gp->tcb[gmp_tcb.specific_used] == 0)
		return;
	for (int round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
		again = false;
		for (uint32_t k = 0; k < nkeys; k++) {
			struct key_data *e = entry(gp->tcb, k);
			void *data;

			if (e == NULL) {
				k |= BLOCK - 1;
				continue;
			}
			data = e->data;
			if (data == NULL)
				continue;
			e->data = NULL;
			if (e->seq == atomic_load_explicit(&keys[k].seq, memory_order_acquire) && e->seq != 0) {
				keys[k].destructor(data);
				again = true;
			}
		}
	}
	if (gmp_tcb.specific_used != 0)
		gp->tcb[gmp_tcb.specific_used] = 0;
	memset(specific[0], 0, BLOCK * sizeof(struct key_data));
	for (uint32_t b = 1; b < PTHREAD_KEYS_MAX / BLOCK; b++)
		if (specific[b] != NULL) {
			free(specific[b]);
			specific[b] = NULL;
		}
}
