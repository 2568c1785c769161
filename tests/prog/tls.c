/* SPDX-License-Identifier: MIT */
/*
 * Thread-local storage: __thread images in fresh and recycled threads, alignment, addresses stable
 * over blocking, C++ thread_local destructors (tls_cxx.cpp), dynamic TLS of a library opened by a
 * thread.
 */
#include "prog.h"

int tls_cxx_touch(int v);
int tls_cxx_alive(void);
int tls_cxx_order(void);

static __thread int number = 4711;
static __thread int zero;
static __thread char text[64] = "initial";
static __thread char aligned[256] __attribute__((aligned(64)));
static __thread void *self_pointer;

static pthread_barrier_t step;
static int *(*lib_counter)(void);
static char *(*lib_big)(void);

static void check_fresh(void)
{
	CHECK_EQ(number, 4711);
	CHECK_EQ(zero, 0);
	CHECK(!strcmp(text, "initial"));
	CHECK_EQ((uintptr_t)aligned % 64, 0);
	for (size_t i = 0; i < sizeof(aligned); i++)
		CHECK_EQ(aligned[i], 0);
	CHECK(self_pointer == NULL);
}

static void dirty(int v)
{
	number = v;
	zero = v;
	memset(text, 'x', sizeof(text));
	memset(aligned, 0xff, sizeof(aligned));
	self_pointer = &number;
}

static void *fresh(void *arg)
{
	int v = (int)(long)arg;

	check_fresh();
	CHECK_EQ(tls_cxx_touch(v), 50 + v);
	dirty(v);
	for (int i = 0; i < 5; i++) {
		sched_yield();
		CHECK_EQ(number, v);
		CHECK_EQ(zero, v);
		CHECK(self_pointer == &number);
	}
	return NULL;
}

static void *together(void *arg)
{
	int v = (int)(long)arg;

	check_fresh();
	dirty(v);
	pthread_barrier_wait(&step);
	CHECK_EQ(number, v);
	CHECK_EQ(tls_cxx_touch(0), 50);
	pthread_barrier_wait(&step);
	CHECK(self_pointer == &number);
	return &number;
}

static void *opens_lib(void *arg)
{
	char path[4096];
	void *lib;

	(void)arg;
	prog_beside(path, sizeof(path), "tls_lib.so");
	lib = dlopen(path, RTLD_NOW);
	if (!lib)
		dprintf(2, "%s\n", dlerror());
	CHECK(lib);
	*(void **)&lib_counter = dlsym(lib, "tls_lib_counter");
	*(void **)&lib_big = dlsym(lib, "tls_lib_big");
	CHECK(lib_counter && lib_big);
	CHECK_EQ(*lib_counter(), 1234);
	*lib_counter() = 1;
	return lib;
}

static void *uses_lib(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(*lib_counter(), 1234 + i);
		++*lib_counter();
		CHECK(!strcmp(lib_big(), i ? "changed" : "big"));
		CHECK_EQ(lib_big()[65535], 0);
		strcpy(lib_big(), "changed");
		sched_yield();
	}
	return NULL;
}

/* Alive before the library is opened, uses it afterwards. */
static void *uses_lib_late(void *arg)
{
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	return uses_lib(arg);
}

int main(void)
{
	pthread_t ts[50];
	void *lib;

	prog_init();
	check_fresh();
	dirty(1);
	for (long i = 0; i < 300; i++)
		prog_join(prog_start(fresh, (void *)i));
	CHECK_EQ(number, 1);
	CHECK_EQ(tls_cxx_alive(), 0);
	puts("sequential ok");

	pthread_barrier_init(&step, NULL, 51);
	for (int round = 0; round < 4; round++) {
		for (long i = 0; i < 50; i++)
			ts[i] = prog_start(together, (void *)i);
		pthread_barrier_wait(&step);
		pthread_barrier_wait(&step);
		for (int i = 0; i < 50; i++)
			prog_join(ts[i]);
	}
	CHECK_EQ(tls_cxx_alive(), 0);
	CHECK_EQ(tls_cxx_order(), 0);
	puts("together ok");

	for (long i = 0; i < 50; i++)
		ts[i] = prog_start(uses_lib_late, NULL);
	pthread_barrier_wait(&step);
	lib = prog_join(prog_start(opens_lib, NULL));
	CHECK_EQ(*lib_counter(), 1234);
	pthread_barrier_wait(&step);
	for (int i = 0; i < 50; i++)
		prog_join(ts[i]);
	for (int i = 0; i < 300; i++)
		prog_join(prog_start(uses_lib, NULL));
	CHECK_EQ(dlclose(lib), 0);
	lib = prog_join(prog_start(opens_lib, NULL));
	prog_join(prog_start(uses_lib, NULL));
	puts("dynamic ok");
	return 0;
}
