/* SPDX-License-Identifier: MIT */
/* libgomp: its threads spin and then wait with futexes that no hook sees, in barriers, critical sections and tasks. */
#include "prog.h"

static long fib(int n)
{
	long a, b;

	if (n < 2)
		return n;
#pragma omp task shared(a) if (n > 10)
	a = fib(n - 1);
#pragma omp task shared(b) if (n > 10)
	b = fib(n - 2);
#pragma omp taskwait
	return a + b;
}

int main(void)
{
	long sum = 0, in_critical = 0, f = 0;

	prog_init();
	for (int round = 0; round < 20; round++) {
#pragma omp parallel for num_threads(6) reduction(+ : sum) schedule(dynamic, 100)
		for (int i = 0; i < 10000; i++)
			sum += i % 7;
#pragma omp parallel num_threads(5)
		{
#pragma omp critical
			in_critical++;
#pragma omp barrier
#pragma omp single
			f = fib(15);
		}
	}
	CHECK_EQ(in_critical, 100);
	CHECK_EQ(f, 610);
	printf("%ld\n", sum);
	return 0;
}
