/* SPDX-License-Identifier: MIT */
/* glibc's internal atomics, those that its tests use. */
#pragma once
#define atomic_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atomic_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atomic_fetch_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define atomic_fetch_add_acquire(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQUIRE)
#define atomic_fetch_add_release(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELEASE)
#define atomic_fetch_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define atomic_increment(p) ((void)__atomic_fetch_add((p), 1, __ATOMIC_SEQ_CST))
#define atomic_increment_val(p) __atomic_add_fetch((p), 1, __ATOMIC_SEQ_CST)
#define atomic_decrement(p) ((void)__atomic_fetch_sub((p), 1, __ATOMIC_SEQ_CST))
#define atomic_full_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define atomic_spin_nop() __builtin_ia32_pause()
