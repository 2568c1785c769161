/* SPDX-License-Identifier: MIT */
/*
 * How many threads, at what price: creates N that wait for one condition, then wakes and joins them all.
 *
 *	million N [stack KB, 0 = default]
 *
 * Prints microseconds per thread for creating (until all wait) and for waking and joining, and KB per thread: resident
 * memory and page tables of the process, and what the kernel holds besides (slab, kernel stacks).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all = PTHREAD_COND_INITIALIZER, cond = PTHREAD_COND_INITIALIZER;
static long waiting, wanted;
static int go;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static long field(const char *path, const char *name)
{
	char line[256];
	long kb = 0;
	FILE *f = fopen(path, "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			kb = atol(line + strlen(name) + 1);
	if (f != NULL)
		fclose(f);
	return kb;
}

static long user_kb(void)
{
	return field("/proc/self/status", "VmRSS") + field("/proc/self/status", "VmPTE");
}

static long kernel_kb(void)
{
	return field("/proc/meminfo", "Slab") + field("/proc/meminfo", "KernelStack");
}

static void *waits(void *arg)
{
	pthread_mutex_lock(&lock);
	if (++waiting == wanted)
		pthread_cond_signal(&all);
	while (!go)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	return arg;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1000000, stack = argc > 2 ? atol(argv[2]) : 0, made;
	pthread_t *ts = calloc((size_t)n, sizeof(*ts));
	long user, kernel;
	double t0, t1, t2;
	pthread_attr_t attr;
	int err = 0;

	pthread_attr_init(&attr);
	if (stack != 0)
		pthread_attr_setstacksize(&attr, (size_t)stack << 10);
	memset(ts, 1, (size_t)n * sizeof(*ts)); /* its pages are not the threads' */
	wanted = n;
	user = user_kb();
	kernel = kernel_kb();
	t0 = now();
	for (made = 0; made < n; made++)
		if ((err = pthread_create(&ts[made], &attr, waits, NULL)) != 0)
			break;
	pthread_mutex_lock(&lock);
	wanted = made;
	while (waiting < made)
		pthread_cond_wait(&all, &lock);
	t1 = now();
	user = user_kb() - user;
	kernel = kernel_kb() - kernel;
	go = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	t2 = now();
	for (long i = 0; i < made; i++)
		pthread_join(ts[i], NULL);
	printf("threads %ld (%s) create %.2f us join %.2f us memory %.2f KB + %.2f KB in the kernel\n", made,
	       err != 0 ? strerror(err) : "all", (t1 - t0) * 1e6 / (double)made, (now() - t2) * 1e6 / (double)made,
	       (double)user / (double)made, (double)kernel / (double)made);
	return 0;
}
