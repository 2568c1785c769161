// SPDX-License-Identifier: MIT
#include <time.h>

#include "core/gmp.h"

int64_t gmp_nanotime(void)
{
	int64_t ts[2];

	gmp_host.clock_gettime(CLOCK_MONOTONIC, ts);
	return ts[0] * NSEC_PER_SEC + ts[1];
}
