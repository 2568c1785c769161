// SPDX-License-Identifier: MIT
/*
 * Micro-benchmarks of the pthread interface: an ordinary program that knows nothing of the shim.
 *
 *   gmpbench list               the measurements, one command line each
 *   gmpbench NAME [THREADS]     run one
 *   gmpbench all                run every one, in the order of the list
 *
 * Each result is a line "name value unit", in ns per operation of wall-clock time; "name.cpu" is
 * the user plus system time of the whole process. The number of operations grows until a run takes
 * about TARGET_NS. gmpbench.go does the same with goroutines, under the same names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC INT64_C(1000000000)
#define TARGET_NS INT64_C(400000000)
#define ENOUGH_NS INT64_C(250000000) /* a trial this long is the result */
#define SANE_NS INT64_C(20000000)    /* a trial shorter than this predicts nothing */

enum {
	MANY = 1000,	 /* create_many: threads alive at once */
	YIELDERS = 4,
	BARRIER_PARTIES = 16,
	RW_THREADS = 8,
	RW_WRITE_EVERY = 16,
	RING_PIPES = 400,
	RING_TOKENS = 40,
	SLEEPERS = 1000,
	SLEEP_MIN_US = 20000,
	SLEEP_SPREAD_US = 20000,
	MAX_THREADS = 1024,
};

struct span {
	int64_t wall_ns, cpu_ns;
};

/* What one trial of n requested operations did. */
struct trial {
	int64_t ops;	 /* operations really done: n rounded to what the measurement can do */
	struct span span;
	struct span join;    /* create_many only */
	int64_t late_p99_ns; /* sleepers only */
};

struct bench {
	const char *name;
	void (*run)(int64_t n, int threads, struct trial *ret_trial);
	int threads;   /* > 0: the thread count is part of the name */
	int64_t first; /* operations of the first trial */
};

static void die(const char *what, int err)
{
	fprintf(stderr, "gmpbench: %s: %s\n", what, strerror(err));
	exit(1);
}

static void check(const char *what, int err)
{
	if (err)
		die(what, err);
}

static void expect(const char *what, bool ok)
{
	if (!ok) {
		fprintf(stderr, "gmpbench: wrong result: %s\n", what);
		exit(1);
	}
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int64_t cpu_ns(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * NSEC_PER_SEC +
	       (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * INT64_C(1000);
}

static void span_start(struct span *s)
{
	s->cpu_ns = cpu_ns();
	s->wall_ns = now_ns();
}

static void span_stop(struct span *s)
{
	s->wall_ns = now_ns() - s->wall_ns;
	s->cpu_ns = cpu_ns() - s->cpu_ns;
}

static pthread_t spawn(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	check("pthread_create", pthread_create(&t, NULL, fn, arg));
	return t;
}

static void join(pthread_t t)
{
	check("pthread_join", pthread_join(t, NULL));
}

/* One crew at a time. Its threads wait at the gate until all exist, so only the work counts. */
static struct {
	pthread_barrier_t gate;
	void (*work)(int self, int64_t rounds);
	int64_t rounds; /* per thread */
} crew;

static void *crew_main(void *arg)
{
	pthread_barrier_wait(&crew.gate);
	crew.work((int)(intptr_t)arg, crew.rounds);
	return NULL;
}

static void crew_run(int threads, int64_t n, void (*work)(int, int64_t), struct trial *ret_trial)
{
	static pthread_t t[MAX_THREADS];

	crew.work = work;
	crew.rounds = n / threads > 0 ? n / threads : 1;
	check("pthread_barrier_init", pthread_barrier_init(&crew.gate, NULL, (unsigned)threads + 1));
	for (int i = 0; i < threads; i++)
		t[i] = spawn(crew_main, (void *)(intptr_t)i);
	span_start(&ret_trial->span);
	pthread_barrier_wait(&crew.gate);
	for (int i = 0; i < threads; i++)
		join(t[i]);
	span_stop(&ret_trial->span);
	pthread_barrier_destroy(&crew.gate);
	ret_trial->ops = crew.rounds * threads;
}

/* --- threads --- */

static void *nothing(void *arg)
{
	return arg;
}

static void create_join(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	span_start(&ret_trial->span);
	for (int64_t i = 0; i < n; i++)
		join(spawn(nothing, NULL));
	span_stop(&ret_trial->span);
	ret_trial->ops = n;
}

static void create_many(int64_t n, int threads, struct trial *ret_trial)
{
	static pthread_t t[MANY];
	int64_t batches = (n + MANY - 1) / MANY;
	struct span create, wait;

	(void)threads;
	for (int64_t b = 0; b < batches; b++) {
		span_start(&create);
		for (int i = 0; i < MANY; i++)
			t[i] = spawn(nothing, NULL);
		span_stop(&create);
		span_start(&wait);
		for (int i = 0; i < MANY; i++)
			join(t[i]);
		span_stop(&wait);
		ret_trial->span.wall_ns += create.wall_ns;
		ret_trial->span.cpu_ns += create.cpu_ns;
		ret_trial->join.wall_ns += wait.wall_ns;
		ret_trial->join.cpu_ns += wait.cpu_ns;
	}
	ret_trial->ops = batches * MANY;
}

static void yield_work(int self, int64_t rounds)
{
	(void)self;
	while (rounds-- > 0)
		sched_yield();
}

static void yield(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	crew_run(YIELDERS, n, yield_work, ret_trial);
}

/* --- two threads in turn; an operation is a round trip --- */

static sem_t ping, pong;

static void *sem_echo(void *arg)
{
	for (int64_t i = *(int64_t *)arg; i > 0; i--) {
		sem_wait(&ping);
		sem_post(&pong);
	}
	return NULL;
}

static void sem_pingpong(int64_t n, int threads, struct trial *ret_trial)
{
	pthread_t t;

	(void)threads;
	sem_init(&ping, 0, 0);
	sem_init(&pong, 0, 0);
	t = spawn(sem_echo, &n);
	span_start(&ret_trial->span);
	for (int64_t i = 0; i < n; i++) {
		sem_post(&ping);
		sem_wait(&pong);
	}
	span_stop(&ret_trial->span);
	join(t);
	ret_trial->ops = n;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed[2] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};
static int turn; /* lock */

static void take_turns(int self, int64_t n)
{
	pthread_mutex_lock(&lock);
	for (int64_t i = 0; i < n; i++) {
		while (turn != self)
			pthread_cond_wait(&turn_changed[self], &lock);
		turn = !self;
		pthread_cond_signal(&turn_changed[!self]);
	}
	pthread_mutex_unlock(&lock);
}

static void *cond_echo(void *arg)
{
	take_turns(1, *(int64_t *)arg);
	return NULL;
}

static void cond_pingpong(int64_t n, int threads, struct trial *ret_trial)
{
	pthread_t t;

	(void)threads;
	turn = 0;
	t = spawn(cond_echo, &n);
	span_start(&ret_trial->span);
	take_turns(0, n);
	join(t);
	span_stop(&ret_trial->span);
	ret_trial->ops = n;
}

static void read_all(int fd, void *buf, size_t size)
{
	ssize_t r = read(fd, buf, size);

	if (r != (ssize_t)size)
		die("short read", r < 0 ? errno : EPIPE);
}

static void write_all(int fd, const void *buf, size_t size)
{
	ssize_t r = write(fd, buf, size);

	if (r != (ssize_t)size)
		die("short write", r < 0 ? errno : EPIPE);
}

struct echo {
	int in, out;
	int64_t n;
};

static void *fd_echo(void *arg)
{
	struct echo *e = arg;
	char c;

	for (int64_t i = 0; i < e->n; i++) {
		read_all(e->in, &c, 1);
		write_all(e->out, &c, 1);
	}
	return NULL;
}

static void fd_pingpong(int in, int out, struct echo *e, struct trial *ret_trial)
{
	pthread_t t = spawn(fd_echo, e);
	bool same = true;

	span_start(&ret_trial->span);
	for (int64_t i = 0; i < e->n; i++) {
		char sent = (char)i, got;

		write_all(out, &sent, 1);
		read_all(in, &got, 1);
		same &= got == sent;
	}
	span_stop(&ret_trial->span);
	join(t);
	expect("a byte came back changed", same);
	ret_trial->ops = e->n;
}

static void pipe_pingpong(int64_t n, int threads, struct trial *ret_trial)
{
	int there[2], back[2];

	(void)threads;
	if (pipe(there) || pipe(back))
		die("pipe", errno);
	fd_pingpong(back[0], there[1], &(struct echo){there[0], back[1], n}, ret_trial);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
}

static void sockpair_pingpong(int64_t n, int threads, struct trial *ret_trial)
{
	int sv[2];

	(void)threads;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		die("socketpair", errno);
	fd_pingpong(sv[0], sv[0], &(struct echo){sv[1], sv[1], n}, ret_trial);
	close(sv[0]);
	close(sv[1]);
}

/* --- locks --- */

static int64_t counter; /* lock, or rwlock */

/* A process without threads: libc needs no atomic operations. */
static void mutex_alone(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	span_start(&ret_trial->span);
	for (int64_t i = 0; i < n; i++) {
		pthread_mutex_lock(&lock);
		pthread_mutex_unlock(&lock);
	}
	span_stop(&ret_trial->span);
	ret_trial->ops = n;
}

static void *idles(void *arg)
{
	pause();
	return arg;
}

static void mutex(int64_t n, int threads, struct trial *ret_trial)
{
	static pthread_t idle;

	if (idle == 0)
		check("pthread_create", pthread_create(&idle, NULL, idles, NULL));
	mutex_alone(n, threads, ret_trial);
}

static void contended_work(int self, int64_t rounds)
{
	(void)self;
	while (rounds-- > 0) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
}

static void contended(int64_t n, int threads, struct trial *ret_trial)
{
	counter = 0;
	crew_run(threads, n, contended_work, ret_trial);
	expect("contended: lost updates", counter == ret_trial->ops);
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

static void rwlock_work(int self, int64_t rounds)
{
	int64_t last = 0;

	for (int64_t i = self; i < self + rounds; i++) {
		if (i % RW_WRITE_EVERY == 0) {
			pthread_rwlock_wrlock(&rwlock);
			counter++;
		} else {
			pthread_rwlock_rdlock(&rwlock);
			expect("rwlock: an update was undone", counter >= last);
			last = counter;
		}
		pthread_rwlock_unlock(&rwlock);
	}
}

static void rw(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	counter = 0;
	crew_run(RW_THREADS, n, rwlock_work, ret_trial);
}

static pthread_barrier_t meeting;

static void barrier_work(int self, int64_t rounds)
{
	(void)self;
	while (rounds-- > 0)
		pthread_barrier_wait(&meeting);
}

/* An operation is one meeting of all parties. */
static void barrier(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	check("pthread_barrier_init", pthread_barrier_init(&meeting, NULL, BARRIER_PARTIES));
	crew_run(BARRIER_PARTIES, n * BARRIER_PARTIES, barrier_work, ret_trial);
	pthread_barrier_destroy(&meeting);
	ret_trial->ops /= BARRIER_PARTIES;
}

/* --- pipe_ring: thread i moves tokens from pipe i to pipe i + 1; an operation is one hop --- */

static struct {
	int fd[RING_PIPES][2];
	sem_t arrived; /* counts tokens that made all their hops */
} ring;

static void *ring_main(void *arg)
{
	int i = (int)(intptr_t)arg;
	int64_t hops; /* left to go; negative: the end */

	for (;;) {
		read_all(ring.fd[i][0], &hops, sizeof(hops));
		if (hops < 0)
			return NULL;
		if (hops == 0)
			sem_post(&ring.arrived);
		else
			write_all(ring.fd[(i + 1) % RING_PIPES][1], &(int64_t){hops - 1}, sizeof(hops));
	}
}

static void pipe_ring(int64_t n, int threads, struct trial *ret_trial)
{
	pthread_t t[RING_PIPES];
	int64_t hops = n / RING_TOKENS + 1;

	(void)threads;
	sem_init(&ring.arrived, 0, 0);
	for (int i = 0; i < RING_PIPES; i++)
		if (pipe(ring.fd[i]))
			die("pipe", errno);
	for (int i = 0; i < RING_PIPES; i++)
		t[i] = spawn(ring_main, (void *)(intptr_t)i);
	span_start(&ret_trial->span);
	for (int i = 0; i < RING_TOKENS; i++)
		write_all(ring.fd[i * (RING_PIPES / RING_TOKENS)][1], &hops, sizeof(hops));
	for (int i = 0; i < RING_TOKENS; i++)
		sem_wait(&ring.arrived);
	span_stop(&ret_trial->span);
	for (int i = 0; i < RING_PIPES; i++)
		write_all(ring.fd[i][1], &(int64_t){-1}, sizeof(hops));
	for (int i = 0; i < RING_PIPES; i++) {
		join(t[i]);
		close(ring.fd[i][0]);
		close(ring.fd[i][1]);
	}
	ret_trial->ops = hops * RING_TOKENS;
}

/* --- sleepers: how late a sleep returns while many sleep, and what it costs --- */

static int64_t *late_ns; /* one slot for each sleep of each sleeper */

static void sleep_work(int self, int64_t rounds)
{
	for (int64_t i = 0; i < rounds; i++) {
		int64_t us = SLEEP_MIN_US + (self * INT64_C(7919) + i * 104729) % SLEEP_SPREAD_US;
		int64_t due = now_ns() + us * 1000;

		nanosleep(&(struct timespec){0, us * 1000}, NULL);
		late_ns[self * rounds + i] = now_ns() - due;
	}
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void sleepers(int64_t n, int threads, struct trial *ret_trial)
{
	(void)threads;
	late_ns = calloc((size_t)n + SLEEPERS, sizeof(*late_ns));
	if (!late_ns)
		die("calloc", errno);
	crew_run(SLEEPERS, n, sleep_work, ret_trial);
	qsort(late_ns, (size_t)ret_trial->ops, sizeof(*late_ns), compare);
	expect("sleepers: a sleep was too short", late_ns[0] >= 0);
	ret_trial->late_p99_ns = late_ns[ret_trial->ops * 99 / 100];
	free(late_ns);
}

static const struct bench benches[] = {
	{"create_join", create_join, 0, 100},
	{"create_many", create_many, 0, MANY},
	{"sem_pingpong", sem_pingpong, 0, 1000},
	{"cond_pingpong", cond_pingpong, 0, 1000},
	{"yield", yield, 0, 10000},
	{"mutex_alone", mutex_alone, 0, 100000},
	{"mutex", mutex, 0, 100000},
	{"contended", contended, 2, 10000},
	{"contended", contended, 16, 10000},
	{"contended", contended, 128, 10000},
	{"barrier", barrier, 0, 100},
	{"rwlock", rw, 0, 10000},
	{"pipe_pingpong", pipe_pingpong, 0, 1000},
	{"sockpair_pingpong", sockpair_pingpong, 0, 1000},
	{"pipe_ring", pipe_ring, 0, 4000},
	{"sleepers", sleepers, 0, SLEEPERS},
};
#define NBENCHES (sizeof(benches) / sizeof(benches[0]))

static int64_t trial_ns(const struct trial *t)
{
	return t->span.wall_ns + t->join.wall_ns;
}

/* Repeats with more operations until a trial is long enough to be believed. */
static void measure(const struct bench *b, int threads, struct trial *ret_trial)
{
	int64_t n = b->first;

	for (int last = 0; !last;) {
		*ret_trial = (struct trial){0};
		b->run(n, threads, ret_trial);
		last = trial_ns(ret_trial) >= ENOUGH_NS;
		if (trial_ns(ret_trial) >= SANE_NS)
			n = (int64_t)((double)n * TARGET_NS / (double)trial_ns(ret_trial));
		else
			n *= 8;
	}
}

static void print(const char *name, const char *suffix, int64_t total_ns, int64_t ops)
{
	printf("%s%s %.1f ns\n", name, suffix, (double)total_ns / (double)ops);
}

static void run(const struct bench *b, int threads)
{
	struct trial t;
	char name[64];

	measure(b, threads, &t);
	if (threads)
		snprintf(name, sizeof(name), "%s_%d", b->name, threads);
	else
		snprintf(name, sizeof(name), "%s", b->name);
	if (b->run == create_many) {
		print(name, ".create", t.span.wall_ns, t.ops);
		print(name, ".join", t.join.wall_ns, t.ops);
	} else if (b->run == sleepers) {
		print(name, ".late_p99", t.late_p99_ns, 1);
	} else {
		print(name, "", t.span.wall_ns, t.ops);
	}
	print(name, ".cpu", t.span.cpu_ns + t.join.cpu_ns, t.ops);
	fflush(stdout);
}

static int usage(void)
{
	fputs("usage: gmpbench list | all | NAME [THREADS]\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3)
		return usage();
	if (strcmp(argv[1], "list") == 0) {
		for (size_t i = 0; i < NBENCHES; i++)
			if (benches[i].threads)
				printf("%s %d\n", benches[i].name, benches[i].threads);
			else
				printf("%s\n", benches[i].name);
		return 0;
	}
	if (strcmp(argv[1], "all") == 0) {
		for (size_t i = 0; i < NBENCHES; i++)
			run(&benches[i], benches[i].threads);
		return 0;
	}
	for (size_t i = 0; i < NBENCHES; i++) {
		if (strcmp(argv[1], benches[i].name) != 0)
			continue;
		int threads = argc > 2 ? atoi(argv[2]) : benches[i].threads;

		if ((argc > 2 && !benches[i].threads) || threads < 0 || threads > MAX_THREADS)
			return usage();
		run(&benches[i], threads);
		return 0;
	}
	return usage();
}
