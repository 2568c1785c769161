/* SPDX-License-Identifier: MIT */
/*
 * What belongs to a thread besides its stack: name, scheduling parameters, affinity, CPU clock,
 * handles of ended threads (pthread_kill gives 0, the others ESRCH), sched_getcpu, locale.
 */
#include "prog.h"

#include <langinfo.h>
#include <locale.h>
#include <semaphore.h>
#include <signal.h>

static sem_t ready, go;

static void *waits(void *arg)
{
	sem_post(&ready);
	CHECK_EQ(sem_wait(&go), 0);
	return arg;
}

static void *named(void *arg)
{
	char want[16], got[16];

	snprintf(want, sizeof(want), "worker %d", (int)(long)arg);
	CHECK_EQ(pthread_setname_np(pthread_self(), want), 0);
	for (int i = 0; i < 20; i++) {
		sched_yield();
		CHECK_EQ(pthread_getname_np(pthread_self(), got, sizeof(got)), 0);
		CHECK(!strcmp(got, want));
	}
	CHECK_EQ(pthread_setname_np(pthread_self(), "a name that is too long"), ERANGE);
	CHECK_EQ(pthread_getname_np(pthread_self(), got, 3), ERANGE);
	return NULL;
}

static void *burns(void *arg)
{
	clockid_t clock;
	struct timespec own, by_id;
	volatile unsigned long n = 0;

	CHECK_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
	do {		/* 20 ms of its own time */
		for (int i = 0; i < 100000; i++)
			n++;
		CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own), 0);
	} while (own.tv_sec == 0 && own.tv_nsec < 20000000);
	CHECK_EQ(clock_gettime(clock, &by_id), 0);
	CHECK(by_id.tv_sec * 1000000000 + by_id.tv_nsec >= own.tv_sec * 1000000000 + own.tv_nsec);
	return arg;
}

static void *fresh_clock(void *arg)
{
	CHECK(prog_now_ns(CLOCK_THREAD_CPUTIME_ID) < 20000000);	/* not its predecessors' time */
	return arg;
}

static void *pinned(void *arg)
{
	cpu_set_t all, one, got;
	int cpu = (int)(long)arg;

	CHECK_EQ(pthread_getaffinity_np(pthread_self(), sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK_EQ(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(sched_getcpu(), cpu);
		sched_yield();
		CHECK_EQ(pthread_getaffinity_np(pthread_self(), sizeof(got), &got), 0);
		CHECK(CPU_EQUAL(&one, &got));
		CPU_ZERO(&got);
		CHECK_EQ(sched_getaffinity(0, sizeof(got), &got), 0);
		CHECK(CPU_EQUAL(&one, &got));
	}
	return NULL;
}

static void *locales(void *arg)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL), u = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
	int utf = u && (long)arg & 1;

	CHECK(c);
	uselocale(utf ? u : c);
	for (int i = 0; i < 20; i++) {
		sched_yield();
		CHECK(uselocale(NULL) == (utf ? u : c));
		CHECK(!strcmp(nl_langinfo(CODESET), utf ? "UTF-8" : "ANSI_X3.4-1968"));
	}
	uselocale(LC_GLOBAL_LOCALE);
	freelocale(c);
	if (u)
		freelocale(u);
	return NULL;
}

static void check_handles(void)
{
	struct sched_param sp = { 0 };
	clockid_t clock;
	char name[16];
	int policy;
	pthread_t t = prog_start(waits, NULL);

	sem_wait(&ready);
	CHECK_EQ(pthread_kill(t, 0), 0);
	CHECK_EQ(pthread_setname_np(t, "other"), 0);
	CHECK_EQ(pthread_getname_np(t, name, sizeof(name)), 0);
	CHECK(!strcmp(name, "other"));
	CHECK_EQ(pthread_getschedparam(t, &policy, &sp), 0);
	CHECK_EQ(policy, SCHED_OTHER);
	CHECK_EQ(sp.sched_priority, 0);
	CHECK_EQ(pthread_setschedparam(t, SCHED_OTHER, &sp), 0);
	CHECK_EQ(pthread_getcpuclockid(t, &clock), 0);
	CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
	sem_post(&go);
	/* ended and not joined */
	while (pthread_getschedparam(t, &policy, &sp) == 0)
		sched_yield();
	CHECK_EQ(pthread_getschedparam(t, &policy, &sp), ESRCH);
	CHECK_EQ(pthread_setschedparam(t, SCHED_OTHER, &sp), ESRCH);
	CHECK_EQ(pthread_getcpuclockid(t, &clock), ESRCH);
	CHECK_EQ(pthread_kill(t, 0), 0);
	CHECK_EQ(pthread_kill(t, SIGTERM), 0);		/* nobody to receive it */
	CHECK_EQ(pthread_cancel(t), 0);
	prog_join(t);
	puts("handles ok");
}

int main(void)
{
	pthread_t ts[8];
	cpu_set_t set;
	char name[16];
	int n = 0;

	prog_init();
	sem_init(&ready, 0, 0);
	sem_init(&go, 0, 0);
	CHECK_EQ(pthread_setname_np(pthread_self(), "the main one"), 0);
	for (long i = 0; i < 8; i++)
		ts[i] = prog_start(named, (void *)i);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	CHECK(!strcmp(name, "the main one"));
	puts("names ok");
	for (int i = 0; i < 3; i++)
		ts[i] = prog_start(burns, NULL);
	for (int i = 0; i < 3; i++)
		prog_join(ts[i]);
	prog_join(prog_start(fresh_clock, NULL));
	puts("clocks ok");
	CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	for (long cpu = 0; cpu < CPU_SETSIZE && n < 4; cpu++)
		if (CPU_ISSET(cpu, &set))
			ts[n++] = prog_start(pinned, (void *)cpu);
	while (n)
		prog_join(ts[--n]);
	puts("affinity ok");
	for (long i = 0; i < 8; i++)
		ts[i] = prog_start(locales, (void *)i);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	puts("locale ok");
	check_handles();
	return 0;
}
