// SPDX-License-Identifier: MIT
/* core/osinit.c: what GOMAXPROCS may say, and how many CPUs there are. */
#include "common.h"

#include <sched.h>
#include <sys/auxv.h>

#include "core/osinit.h"

/*
 * Accepted: decimal digits that make 1 to 256; leading zeros do no harm. Everything else, blanks included, is 0,
 * "nonsense": the caller says so and takes the number of CPUs.
 */
static const struct {
	const char *text;
	int want;
} rows[] = {
	{"1", 1},
	{"2", 2},
	{"10", 10},
	{"256", 256},
	{"00004", 4},
	{"0000000000000000000000000000000000000016", 16},
	{" 4", 0},
	{"  7", 0},
	{"", 0},
	{" ", 0},
	{"0", 0},
	{"000", 0},
	{"257", 0},
	{"1000", 0},
	{"-1", 0},
	{"-3", 0},
	{"- 3", 0},
	{"+4", 0},
	{"abc", 0},
	{"4x", 0},
	{"x4", 0},
	{"4 ", 0},
	{"4\n", 0},
	{"\t4", 0},
	{"4 4", 0},
	{"1e9", 0},
	{"1.5", 0},
	{"0x4", 0},
	{"1000000000", 0},
	{"2147483647", 0},
	{"2147483648", 0},
	{"4294967297", 0}, /* 1 modulo 2^32 */
	{"18446744073709551617", 0}, /* 1 modulo 2^64 */
	{"99999999999999999999999999999999999999", 0},
};

#define NROWS (int)(sizeof(rows) / sizeof(rows[0]))

START_TEST(parse_procs)
{
	int got = gmp_parse_procs(rows[_i].text);

	ck_assert_msg(got == rows[_i].want, "gmp_parse_procs(\"%s\") is %d, want %d", rows[_i].text, got,
		      rows[_i].want);
}
END_TEST

START_TEST(parse_number)
{
	ck_assert_int_eq(gmp_parse_number("100", 1000000), 100);
	ck_assert_int_eq(gmp_parse_number("1000000", 1000000), 1000000);
	ck_assert_int_eq(gmp_parse_number("1000001", 1000000), 0);
	ck_assert_int_eq(gmp_parse_number("0", 1000000), 0);
	ck_assert_int_eq(gmp_parse_number(" 5", 1000000), 0);
	ck_assert_int_eq(gmp_parse_number("5us", 1000000), 0);
}
END_TEST

static void osinit(bool quota)
{
	gmp_osinit(getauxval(AT_HWCAP2), getauxval(AT_PAGESZ), quota);
}

START_TEST(affinity)
{
	cpu_set_t all, some;
	int n;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	n = CPU_COUNT(&all);
	osinit(false);
	ck_assert_int_eq(sched.ncpu, n > GMP_MAXPROCS ? GMP_MAXPROCS : n);
	ck_assert_uint_eq(sched.page_size, (size_t)getauxval(AT_PAGESZ));

	/* each CPU alone, and then all of them again, one by one */
	CPU_ZERO(&some);
	n = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 16; cpu++) {
		cpu_set_t one;

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		osinit(false);
		ck_assert_int_eq(sched.ncpu, 1);
		CPU_SET(cpu, &some);
		n++;
		ck_assert_int_eq(sched_setaffinity(0, sizeof(some), &some), 0);
		osinit(false);
		ck_assert_int_eq(sched.ncpu, n);
	}
}
END_TEST

/* The quota of the cgroup only ever lowers the number, and never below 1. */
START_TEST(quota_caps)
{
	int n;

	osinit(false);
	n = sched.ncpu;
	osinit(true);
	ck_assert_int_ge(sched.ncpu, 1);
	ck_assert_int_le(sched.ncpu, n);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("osinit");

	tcase_add_loop_test(tc, parse_procs, 0, NROWS);
	tcase_add_test(tc, parse_number);
	tcase_add_test(tc, affinity);
	tcase_add_test(tc, quota_caps);
	return ut_run(tc, "osinit");
}
