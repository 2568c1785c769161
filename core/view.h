// SPDX-License-Identifier: MIT
/* See view.c. */
#pragma once
#include <stdint.h>

struct gmp_view_entry {
	char name[24];
	uint64_t value;
};

extern const struct gmp_view_entry gmp_view[];
