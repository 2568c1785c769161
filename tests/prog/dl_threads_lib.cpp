/* SPDX-License-Identifier: MIT */
/*
 * Opened late by dl_threads: initial-exec TLS with an image, a constructor that creates threads and waits for them, a
 * destructor, and functions that throw.
 */
#include <pthread.h>
#include <stdexcept>

extern "C" {
__thread int dl_ie __attribute__((tls_model("initial-exec"))) = 4711;
int dl_made;

static void *counts(void *arg)
{
	if (dl_ie == 4711)
		__atomic_add_fetch(static_cast<int *>(arg), 1, __ATOMIC_SEQ_CST);
	dl_ie = 1;
	return arg;
}

__attribute__((constructor)) static void begin()
{
	pthread_t t[3];

	for (pthread_t &one : t)
		if (pthread_create(&one, nullptr, counts, &dl_made) != 0)
			return;
	for (pthread_t one : t)
		pthread_join(one, nullptr);
}

int dl_add(int n)
{
	return dl_ie += n;
}

void dl_throw(int n)
{
	if (n == 0)
		throw std::runtime_error("from the library");
	dl_throw(n - 1);
}
}
