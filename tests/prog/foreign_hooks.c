/* SPDX-License-Identifier: MIT */
/*
 * Threads that the program did not make with pthread_create enter every family of locks and meet the program's own
 * threads there, waiting for them and being waited for: a SIGEV_THREAD timer, mq_notify, aio, getaddrinfo_a.
 */
#include "prog.h"

#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netdb.h>
#include <semaphore.h>
#include <signal.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, timed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_barrier_t barrier;
static pthread_once_t once;
static sem_t sem[2], done;
static int turns, inits;

static void init_routine(void)
{
	prog_nap_ms(2);
	inits++;
}

/* Both sides run this, one of them on a thread of the library's making. */
static void meet(int me)
{
	struct timespec soon;
	struct timespec late = prog_after_ms(CLOCK_REALTIME, 60000);

	pthread_barrier_wait(&barrier);
	pthread_once(&once, init_routine);
	CHECK_EQ(inits, 1);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(pthread_mutex_lock(&mutex), 0);
		while (turns % 2 != me)
			CHECK_EQ(i % 2 ? pthread_cond_wait(&cond, &mutex) :
					 pthread_cond_timedwait(&cond, &mutex, &late), 0);
		turns++;
		pthread_cond_broadcast(&cond);
		CHECK_EQ(pthread_mutex_unlock(&mutex), 0);
		CHECK_EQ(pthread_rwlock_wrlock(&rwlock), 0);
		CHECK_EQ(pthread_rwlock_unlock(&rwlock), 0);
		CHECK_EQ(pthread_rwlock_rdlock(&rwlock), 0);
		CHECK_EQ(pthread_rwlock_unlock(&rwlock), 0);
		CHECK_EQ(pthread_spin_lock(&spin), 0);
		CHECK_EQ(pthread_spin_unlock(&spin), 0);
		CHECK_EQ(sem_post(&sem[!me]), 0);
		CHECK_EQ(sem_wait(&sem[me]), 0);
	}
	soon = prog_after_ms(CLOCK_REALTIME, 5);
	pthread_barrier_wait(&barrier);
	if (me) {
		CHECK_EQ(pthread_mutex_lock(&timed), 0);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		CHECK_EQ(pthread_mutex_unlock(&timed), 0);
	} else {
		pthread_barrier_wait(&barrier);
		CHECK_EQ(pthread_mutex_timedlock(&timed, &soon), ETIMEDOUT);
		CHECK_EQ(sem_timedwait(&sem[0], &soon), -1);
		CHECK_EQ(errno, ETIMEDOUT);
		pthread_barrier_wait(&barrier);
	}
	pthread_barrier_wait(&barrier);
	sched_yield();
	prog_nap_ms(1);
	CHECK_EQ(sem_post(&done), 0);
}

static void *ours(void *arg)
{
	meet(0);
	return arg;
}

static void theirs(union sigval v)
{
	(void)v;
	meet(1);
}

static pthread_t begin(void)
{
	pthread_once_t fresh = PTHREAD_ONCE_INIT;

	once = fresh;
	turns = inits = 0;
	return prog_start(ours, NULL);
}

static void finish(pthread_t t, const char *what)
{
	prog_join(t);
	CHECK_EQ(sem_wait(&done), 0);
	CHECK_EQ(sem_wait(&done), 0);
	CHECK_EQ(turns, 100);
	printf("%s ok\n", what);
}

int main(void)
{
	struct sigevent sev = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = theirs };
	struct itimerspec its = { .it_value.tv_nsec = 1000000 };
	char name[64], text[] = "text";
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
	struct gaicb req = { .ar_name = "127.0.0.1", .ar_request = &hints }, *reqs[1] = { &req };
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 16 };
	struct aiocb cb;
	timer_t timer;
	pthread_t t;
	mqd_t mq;
	FILE *f;

	prog_init();
	pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
	pthread_barrier_init(&barrier, NULL, 2);
	sem_init(&sem[0], 0, 0);
	sem_init(&sem[1], 0, 0);
	sem_init(&done, 0, 0);

	t = begin();
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &sev, &timer), 0);
	CHECK_EQ(timer_settime(timer, 0, &its, NULL), 0);
	finish(t, "timer");
	CHECK_EQ(timer_delete(timer), 0);

	f = tmpfile();
	CHECK(f);
	t = begin();
	cb = (struct aiocb){ .aio_fildes = fileno(f), .aio_buf = text, .aio_nbytes = sizeof(text),
			     .aio_sigevent = sev };
	CHECK_EQ(aio_write(&cb), 0);
	finish(t, "aio");
	CHECK_EQ(aio_return(&cb), sizeof(text));
	fclose(f);

	t = begin();
	CHECK_EQ(getaddrinfo_a(GAI_NOWAIT, reqs, 1, &sev), 0);
	finish(t, "getaddrinfo_a");
	CHECK_EQ(gai_error(&req), 0);
	freeaddrinfo(req.ar_result);

	snprintf(name, sizeof(name), "/gmpshim-test-%d", (int)getpid());
	mq = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	if (mq != (mqd_t)-1) {
		mq_unlink(name);
		t = begin();
		CHECK_EQ(mq_notify(mq, &sev), 0);
		CHECK_EQ(mq_send(mq, text, sizeof(text), 0), 0);
		finish(t, "mq_notify");
		mq_close(mq);
	}
	return 0;
}
