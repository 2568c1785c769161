/* SPDX-License-Identifier: MIT */
/*
 * Forced unwinding in C++: pthread_exit and cancellation run the destructors of every frame and
 * pass catch (...) that rethrows; cleanup handlers and thread_local destructors run too.
 */
#include "prog.h"

#include <cxxabi.h>
#include <semaphore.h>

static int destroyed, caught, local_destroyed, cleaned;
static sem_t ready, never;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

struct guard {
	~guard() { destroyed++; }
};

struct unlocker {
	~unlocker() { CHECK_EQ(pthread_mutex_unlock(&lock), 0); }
};

struct local_object {
	int used = 0;
	~local_object() { local_destroyed++; }
};

static thread_local local_object local;

static void cleanup(void *arg)
{
	(void)arg;
	cleaned++;
}

static void block(int how)
{
	guard g;
	char c;

	switch (how) {
	case 0:
		sem_wait(&never);
		break;
	case 1:
		for (;;)
			prog_nap_ms(1000000);
	case 2: {
		pthread_mutex_lock(&lock);
		unlocker u;
		for (;;)
			pthread_cond_wait(&cond, &lock);
	}
	case 3:
		for (;;) {
			pthread_testcancel();
			sched_yield();
		}
	case 4: {
		int p[2];
		CHECK_EQ(pipe(p), 0);
		CHECK(read(p[0], &c, 1) >= 0);
		break;
	}
	default:
		pthread_exit(reinterpret_cast<void *>(0x44));
	}
	CHECK(!"reached");
}

/* Never returns, which gcc takes for an endless recursion: hence a pointer. */
static void (*volatile again)(int depth, int how);

static void nest(int depth, int how)
{
	guard g;

	if (depth == 0) {
		block(how);
	} else if (depth == 5) {
		try {
			again(depth - 1, how);
		} catch (abi::__forced_unwind &) {
			caught++;
			throw;
		}
	} else if (depth == 7) {
		try {
			again(depth - 1, how);
		} catch (...) {
			caught++;
			throw;
		}
	} else {
		again(depth - 1, how);
	}
	CHECK_EQ(destroyed, -1);	/* never: and the call above is no tail call */
}

static void *worker(void *arg)
{
	guard g;

	local.used = 1;
	pthread_cleanup_push(cleanup, nullptr);
	sem_post(&ready);
	nest(10, static_cast<int>(reinterpret_cast<long>(arg)));
	pthread_cleanup_pop(0);
	return nullptr;
}

int main()
{
	prog_init();
	again = nest;
	sem_init(&ready, 0, 0);
	sem_init(&never, 0, 0);
	for (long how = 0; how < 6; how++) {
		pthread_t t;

		destroyed = caught = local_destroyed = cleaned = 0;
		t = prog_start(worker, reinterpret_cast<void *>(how));
		CHECK_EQ(sem_wait(&ready), 0);
		if (how < 5) {
			prog_nap_ms(2);
			CHECK_EQ(pthread_cancel(t), 0);
			CHECK(prog_join(t) == PTHREAD_CANCELED);
		} else {
			CHECK(prog_join(t) == reinterpret_cast<void *>(0x44));
		}
		CHECK_EQ(destroyed, 13);	/* worker, nest(10..0), block */
		CHECK_EQ(caught, 2);
		CHECK_EQ(cleaned, 1);
		CHECK_EQ(local_destroyed, 1);
		CHECK_EQ(pthread_mutex_trylock(&lock), 0);
		CHECK_EQ(pthread_mutex_unlock(&lock), 0);
		printf("%ld ok\n", how);
	}
	return 0;
}
