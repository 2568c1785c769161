/* SPDX-License-Identifier: MIT */
/*
 * pthread_exit from main: the process lives until the last thread ends, main can be joined like
 * any other thread, its keys are destroyed, atexit handlers run once at the end and the status is
 * 0.
 */
#include "prog.h"

static pthread_t main_thread;
static pthread_key_t key;
static int main_key_destroyed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void destroyed(void *value)
{
	CHECK(value == &key);
	main_key_destroyed++;
}

static void at_exit(void)
{
	puts("atexit");
}

static void *worker(void *arg)
{
	int mine = (int)(long)arg;
	void *ret;

	if (mine == 0) {
		CHECK_EQ(pthread_join(main_thread, &ret), 0);
		CHECK(ret == (void *)0x99);
		CHECK_EQ(main_key_destroyed, 1);
		puts("main joined");
	}
	pthread_mutex_lock(&lock);
	while (turn != mine)
		pthread_cond_wait(&changed, &lock);
	printf("worker %d\n", mine);
	turn++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (mine == 4) {
		/* a grandchild, born after main has gone, ends last */
		prog_nap_ms(20);
		prog_start(worker, (void *)5);
	}
	return NULL;
}

int main(void)
{
	prog_init();
	main_thread = pthread_self();
	atexit(at_exit);
	CHECK_EQ(pthread_key_create(&key, destroyed), 0);
	pthread_setspecific(key, &key);
	for (long i = 4; i >= 0; i--)
		CHECK_EQ(pthread_detach(prog_start(worker, (void *)i)), 0);
	puts("main exits");
	pthread_exit((void *)0x99);
}
