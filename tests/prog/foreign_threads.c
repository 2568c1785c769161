/* SPDX-License-Identifier: MIT */
/*
 * Threads that glibc makes itself: SIGEV_THREAD timers and POSIX aio. Their callbacks take locks,
 * wait, post and signal like any other thread, and talk to the program's own threads both ways.
 */
#include "prog.h"

#include <aio.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t posted, back;
static int ticks, acks;

static void tick(union sigval v)
{
	CHECK_EQ(v.sival_int, 77);
	pthread_mutex_lock(&lock);
	ticks++;
	pthread_cond_broadcast(&cond);
	while (!acks)			/* waits for one of the program's threads */
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	CHECK_EQ(sem_wait(&back), 0);
	sem_post(&posted);
}

static void *acknowledges(void *arg)
{
	pthread_mutex_lock(&lock);
	while (!ticks)
		pthread_cond_wait(&cond, &lock);
	acks = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	sem_post(&back);
	CHECK_EQ(sem_wait(&posted), 0);
	return arg;
}

static void aio_done(union sigval v)
{
	CHECK_EQ(aio_error(v.sival_ptr), 0);
	sem_post(&posted);
}

int main(void)
{
	struct sigevent sev = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick,
				.sigev_value.sival_int = 77 };
	struct itimerspec its = { .it_value.tv_nsec = 2000000 };
	struct aiocb cb, *list[1] = { &cb };
	char buf[100], text[] = "written by aio";
	timer_t timer;
	FILE *f;

	prog_init();
	sem_init(&posted, 0, 0);
	sem_init(&back, 0, 0);
	for (int i = 0; i < 5; i++) {
		pthread_t t;

		ticks = acks = 0;
		t = prog_start(acknowledges, NULL);
		CHECK_EQ(timer_create(CLOCK_MONOTONIC, &sev, &timer), 0);
		CHECK_EQ(timer_settime(timer, 0, &its, NULL), 0);
		prog_join(t);
		CHECK_EQ(ticks, 1);
		CHECK_EQ(timer_delete(timer), 0);
	}
	puts("timers ok");

	f = tmpfile();
	CHECK(f);
	cb = (struct aiocb){ .aio_fildes = fileno(f), .aio_buf = text, .aio_nbytes = sizeof(text),
			     .aio_sigevent = { .sigev_notify = SIGEV_THREAD,
					       .sigev_notify_function = aio_done,
					       .sigev_value.sival_ptr = &cb } };
	CHECK_EQ(aio_write(&cb), 0);
	CHECK_EQ(sem_wait(&posted), 0);
	CHECK_EQ(aio_return(&cb), sizeof(text));
	cb.aio_buf = buf;
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	CHECK_EQ(aio_read(&cb), 0);
	while (aio_error(&cb) == EINPROGRESS)
		aio_suspend((const struct aiocb *const *)list, 1, NULL);
	CHECK_EQ(aio_return(&cb), sizeof(text));
	CHECK(!strcmp(buf, text));
	fclose(f);
	puts("aio ok");
	return 0;
}
