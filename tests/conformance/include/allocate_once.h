/* SPDX-License-Identifier: MIT */
/* glibc's internal allocate_once, for libsupport. */
#pragma once
#include <stdlib.h>

static inline void *allocate_once(void **place, void *(*allocate)(void *), void (*deallocate)(void *, void *),
				  void *arg)
{
	void *was = __atomic_load_n(place, __ATOMIC_ACQUIRE), *made;

	if (was != NULL)
		return was;
	made = allocate(arg);
	if (made == NULL || __atomic_compare_exchange_n(place, &was, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	if (deallocate != NULL)
		deallocate(arg, made);
	else
		free(made);
	return was;
}
