/* SPDX-License-Identifier: MIT */
/*
 * A C program opens a C++ library whose code throws and catches: the unwinder found must be
 * libgcc_s's, in main and in threads, when opened before and after the first thread.
 */
#include "prog.h"

static int (*run)(int);

static void *runs(void *arg)
{
	for (int i = 0; i < 60; i++) {
		CHECK_EQ(run(i), i + 1);
		if (i % 10 == 0)
			sched_yield();
	}
	return arg;
}

static void *opens(void *arg)
{
	char path[4096];
	void *lib;

	prog_beside(path, sizeof(path), "cxx_plugin_lib.so");
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		dprintf(2, "%s\n", dlerror());
	CHECK(lib);
	*(void **)&run = dlsym(lib, "plugin_run");
	CHECK(run);
	CHECK(!dlsym(lib, "no_such_symbol"));
	CHECK(dlerror());
	CHECK(!dlerror());		/* told once, per thread */
	return arg;
}

static void *opens_and_runs(void *arg)
{
	opens(arg);
	return runs(arg);
}

int main(void)
{
	pthread_t ts[10];

	prog_init();
	prog_join(prog_start(opens_and_runs, NULL));
	puts("thread ok");
	opens_and_runs(NULL);
	puts("main ok");
	for (int i = 0; i < 10; i++)
		ts[i] = prog_start(runs, NULL);
	for (int i = 0; i < 10; i++)
		prog_join(ts[i]);
	puts("threads ok");
	return 0;
}
