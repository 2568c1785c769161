// SPDX-License-Identifier: MIT
#include <time.h>

#include "core/gmp.h"

int64_t gmp_nanotime(void)
{
	int64_t ts[2];

	gmp_host.clock_gettime(CLOCK_MONOTONIC, ts);
	return ts[0] * NSEC_PER_SEC + ts[1];
}

int64_t gmp_deadline_mono(int64_t deadline)
{
	int64_t ts[2], when;

	if (likely(deadline > 0))
		return deadline;
	if (deadline == 0)
		return 1;
	gmp_host.clock_gettime(CLOCK_REALTIME, ts);
	if (__builtin_add_overflow(gmp_nanotime() - (ts[0] * NSEC_PER_SEC + ts[1]), -deadline, &when) ||
	    when >= GMP_NO_DEADLINE)
		return GMP_NO_DEADLINE - 1;
	return when > 0 ? when : 1;
}

bool gmp_deadline_passed(int64_t deadline)
{
	return deadline != GMP_NO_DEADLINE && gmp_deadline_mono(deadline) <= gmp_nanotime();
}
