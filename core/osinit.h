// SPDX-License-Identifier: MIT
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills sched.page_size and sched.ncpu (at least 1), and tells arch what the CPU can do. want_quota: read the cgroup.
 */
void gmp_osinit(unsigned long hwcap2, size_t page_size, bool want_quota);
/*
 * The system call that the kernel, or a sandbox around the process, refuses, and without which Gs could not be run
 * safely; NULL: all are there.
 */
const char *gmp_osrefuses(void);
int64_t gmp_parse_number(const char *s, int64_t max); /* 1..max, 0 = nonsense */
int gmp_parse_procs(const char *s);		      /* GOMAXPROCS: 1..GMP_MAXPROCS, 0 = nonsense */
