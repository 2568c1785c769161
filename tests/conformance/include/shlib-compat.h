/* SPDX-License-Identifier: MIT */
/* References to old symbol versions: on x86-64 the oldest is GLIBC_2.2.5. */
#pragma once
#define TEST_COMPAT(lib, introduced, obsoleted) 1
#define compat_symbol_reference(lib, local, symbol, version) \
	__asm__(".symver " #local "," #symbol "@" OLDEST_##version)
#define OLDEST_GLIBC_2_0 "GLIBC_2.2.5"
#define OLDEST_GLIBC_2_2_5 "GLIBC_2.2.5"
