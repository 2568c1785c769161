/* SPDX-License-Identifier: MIT */
/*
 * dlopen and dlclose from many threads at once, of a library whose constructor creates threads and whose TLS is
 * initial-exec: threads that are there already find their blocks initialised. Meanwhile others throw, walk the list of
 * objects, and create threads.
 */
#include "prog.h"

#include <link.h>
#include <semaphore.h>
#include <stdexcept>

static char path[4096];
static volatile int stop;
static sem_t go, done;
static int (*add)(int);
static void (*throws)(int);

static int object(struct dl_phdr_info *info, size_t, void *arg)
{
	*static_cast<int *>(arg) += info->dlpi_phnum > 0;
	return 0;
}

static void *walks(void *arg)
{
	while (!stop) {
		int n = 0;

		dl_iterate_phdr(object, &n);
		CHECK(n > 3);
		sched_yield();
	}
	return arg;
}

static void deep(int n)
{
	if (n == 0)
		throw std::logic_error("deep");
	deep(n - 1);
	sched_yield();
}

static void *catches(void *arg)
{
	while (!stop) {
		try {
			deep(10);
			CHECK(!"reached");
		} catch (const std::logic_error &e) {
			CHECK(strcmp(e.what(), "deep") == 0);
		}
		usleep(20);
	}
	return arg;
}

static void *nothing(void *arg)
{
	return arg;
}

static void *creates(void *arg)
{
	while (!stop)
		prog_join(prog_start(nothing, NULL));
	return arg;
}

static void *opens(void *arg)
{
	for (int i = 0; i < 40; i++) {
		void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

		if (h == NULL) {
			dprintf(2, "%s\n", dlerror());
			_exit(1);
		}
		CHECK_EQ(dlopen("/nonexistent/lib.so", RTLD_NOW) == NULL, 1);
		CHECK(strstr(dlerror(), "nonexistent") != NULL);
		CHECK(dlsym(h, "dl_add") != NULL);
		CHECK_EQ(*static_cast<int *>(dlsym(h, "dl_made")), 3);
		CHECK_EQ(dlclose(h), 0);
	}
	return arg;
}

/* There before the library is opened. */
static void *early(void *arg)
{
	while (sem_wait(&go) != 0)
		;
	CHECK_EQ(add(0), 4711);
	CHECK_EQ(add(1), 4712);
	sched_yield();
	CHECK_EQ(add(1), 4713);
	try {
		throws(5);
		CHECK(!"reached");
	} catch (const std::runtime_error &e) {
		CHECK(strcmp(e.what(), "from the library") == 0);
	}
	sem_post(&done);
	return arg;
}

int main()
{
	pthread_t before[50], load[4], o[6];
	void *h;

	prog_init();
	prog_beside(path, sizeof(path), "dl_threads_lib.so");
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	for (pthread_t &t : before)
		t = prog_start(early, NULL);
	load[0] = prog_start(walks, NULL);
	load[1] = prog_start(catches, NULL);
	load[2] = prog_start(catches, NULL);
	load[3] = prog_start(creates, NULL);
	for (pthread_t &t : o)
		t = prog_start(opens, NULL);
	for (pthread_t t : o)
		prog_join(t);
	puts("opened and closed");
	h = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	CHECK(h != NULL);
	add = reinterpret_cast<int (*)(int)>(dlsym(h, "dl_add"));
	throws = reinterpret_cast<void (*)(int)>(dlsym(h, "dl_throw"));
	CHECK(add != NULL && throws != NULL);
	for (unsigned i = 0; i < 50; i++)
		sem_post(&go);
	for (pthread_t t : before)
		prog_join(t);
	CHECK_EQ(add(0), 4711);
	stop = 1;
	for (pthread_t t : load)
		prog_join(t);
	puts("initialised");
	return 0;
}
