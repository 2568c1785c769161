/* SPDX-License-Identifier: MIT */
/*
 * The lock of a stream: no torn lines whatever function writes them and wherever a thread is stopped; recursion,
 * trylock and FSETLOCKING_BYCALLER; waiting for it holds no kernel thread when the shim is live, also while the holder
 * sleeps or computes; what happens to it when a thread is cancelled, exits or forks; fflush(NULL), which locks
 * streams inside libc.
 */
#include "prog.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <sys/wait.h>

#define WRITERS	100

static int lines;
static FILE *out;
static volatile int step;

static void wait_step(int n)
{
	while (step < n)
		prog_nap_ms(1);
}

static int vprints(FILE *f, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vfprintf(f, fmt, ap);
	va_end(ap);
	return n;
}

static void burn(void)
{
	for (volatile int i = 0; i < 2000; i++)
		;
}

static void *prints(void *arg)
{
	int id = (int)(long)arg;
	char text[80];

	for (int i = 0; i < lines; i++) {
		int n = sprintf(text, "%d %d the end\n", id, i);

		switch (i % 7) {
		case 0:
			CHECK_EQ(fprintf(out, "%s", text), n);
			break;
		case 1:
			CHECK(fputs(text, out) >= 0);
			break;
		case 2:
			CHECK_EQ(fwrite(text, 1, (size_t)n, out), (size_t)n);
			break;
		case 3:
			flockfile(out);
			for (int j = 0; j < n; j++)
				CHECK_EQ(fputc(text[j], out), text[j]);
			funlockfile(out);
			break;
		case 4:
			flockfile(out);
			CHECK_EQ(fprintf(out, "%d ", id), n - (int)strlen(strchr(text, ' ')) + 1);
			if (i % 5 == 0)
				burn();
			else
				sched_yield();
			flockfile(out);
			CHECK(fprintf(out, "%d", i) > 0);
			funlockfile(out);
			CHECK(fputs(" the end\n", out) >= 0);
			funlockfile(out);
			break;
		case 5:
			CHECK_EQ(vprints(out, "%d %d %s\n", id, i, "the end"), n);
			break;
		case 6:
			while (ftrylockfile(out))
				sched_yield();
			for (int j = 0; j < n; j++)
				CHECK_EQ(putc_unlocked(text[j], out), text[j]);
			funlockfile(out);
			break;
		}
	}
	return NULL;
}

static void check_lines(FILE *in)
{
	int next[WRITERS] = { 0 }, id, i, used, all = 0;
	char line[100];

	while (fgets(line, sizeof(line), in)) {
		used = 0;
		CHECK_EQ(sscanf(line, "%d %d the end%n", &id, &i, &used), 2);
		CHECK(used > 0);
		CHECK(strcmp(line + used, "\n") == 0);
		CHECK(id >= 0 && id < WRITERS);
		CHECK_EQ(i, next[id]);
		next[id]++;
		all++;
	}
	CHECK_EQ(all, WRITERS * lines);
}

static void not_torn(FILE *f, int mode, size_t size)
{
	pthread_t ts[WRITERS];

	out = f;
	CHECK(out);
	CHECK_EQ(setvbuf(out, NULL, mode, size), 0);
	for (long i = 0; i < WRITERS; i++)
		ts[i] = prog_start(prints, (void *)i);
	for (int i = 0; i < WRITERS; i++)
		prog_join(ts[i]);
}

static void lines_to_files(void)
{
	char *text = NULL;
	size_t size;
	FILE *f = tmpfile();

	not_torn(f, _IOFBF, 4096);
	rewind(f);
	check_lines(f);
	CHECK_EQ(fclose(f), 0);
	f = tmpfile();
	not_torn(f, _IOLBF, 100);
	rewind(f);
	check_lines(f);
	CHECK_EQ(fclose(f), 0);
	f = open_memstream(&text, &size);
	CHECK(f);
	not_torn(f, _IOFBF, 0);
	CHECK_EQ(fclose(f), 0);
	f = fmemopen(text, size, "r");
	CHECK(f);
	check_lines(f);
	fclose(f);
	free(text);
}

/* --- waiting --- */

static int waiting, passed;

static void *waits(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_RELAXED);
	CHECK(fputs("x", out) >= 0);
	__atomic_add_fetch(&passed, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *tries(void *arg)
{
	return (void *)(long)ftrylockfile(arg);
}

static void holder_sleeps(void)
{
	pthread_t ts[WRITERS];

	out = tmpfile();
	waiting = passed = 0;
	flockfile(out);
	flockfile(out);
	for (long i = 0; i < WRITERS; i++)
		ts[i] = prog_start(waits, NULL);
	while (__atomic_load_n(&waiting, __ATOMIC_RELAXED) < WRITERS)
		prog_nap_ms(1);
	prog_few_kthreads(WRITERS);
	CHECK_EQ(fputs("y", out), 1);
	funlockfile(out);
	CHECK(prog_join(prog_start(tries, out)) != NULL);
	for (int64_t until = prog_now_ns(CLOCK_MONOTONIC) + 30000000; prog_now_ns(CLOCK_MONOTONIC) < until;)
		burn();					/* preempted while it holds the stream */
	CHECK_EQ(passed, 0);
	funlockfile(out);
	for (int i = 0; i < WRITERS; i++)
		prog_join(ts[i]);
	CHECK_EQ(ftell(out), WRITERS + 1);
	CHECK(prog_join(prog_start(tries, out)) == NULL);	/* ended with it */
	CHECK(ftrylockfile(out) != 0);
}

static void by_caller(void)
{
	FILE *f = tmpfile();

	CHECK_EQ(__fsetlocking(f, FSETLOCKING_BYCALLER), FSETLOCKING_INTERNAL);
	out = f;
	waiting = passed = 0;
	flockfile(f);
	prog_join(prog_start(waits, NULL));		/* takes no lock */
	funlockfile(f);
	CHECK_EQ(fclose(f), 0);
}

/* --- fork --- */

static void *holds(void *arg)
{
	flockfile(arg);
	step = 1;
	wait_step(2);
	funlockfile(arg);
	return NULL;
}

static void forks(void)
{
	pthread_t t;
	int status;
	pid_t pid;

	out = tmpfile();
	step = 0;
	t = prog_start(holds, out);
	wait_step(1);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(ftrylockfile(out), 0);		/* nobody's in the child */
		CHECK(fputs("child", out) >= 0);
		funlockfile(out);
		waiting = passed = 0;
		prog_join(prog_start(waits, NULL));
		CHECK_EQ(fclose(out), 0);
		_exit(7);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CHECK(ftrylockfile(out) != 0);
	step = 2;
	prog_join(t);
	CHECK_EQ(ftrylockfile(out), 0);
	funlockfile(out);
	fclose(out);
}

/* --- cookies: the program's code under the lock --- */

static FILE *cookie;

static ssize_t cookie_write(void *arg, const char *buf, size_t n)
{
	CHECK_EQ(ftrylockfile(cookie), 0);		/* recursive */
	funlockfile(cookie);
	prog_nap_ms(1);
	if (memchr(buf, '!', n))
		pthread_exit((void *)5);
	*(size_t *)arg += n;
	return (ssize_t)n;
}

static void *writes_cookie(void *arg)
{
	CHECK(fputs(arg, cookie) >= 0);
	CHECK_EQ(fflush(cookie), 0);
	return NULL;
}

static void cookies(void)
{
	cookie_io_functions_t fns = { .write = cookie_write };
	pthread_t ts[10];
	size_t n = 0;

	cookie = fopencookie(&n, "w", fns);
	CHECK(cookie);
	for (int i = 0; i < 10; i++)
		ts[i] = prog_start(writes_cookie, "ten bytes\n");
	for (int i = 0; i < 10; i++)
		CHECK(prog_join(ts[i]) == NULL);
	CHECK_EQ(n, 100);
	CHECK(prog_join(prog_start(writes_cookie, "bang!")) == (void *)5);
	/* whether unwinding unlocks it is libc's choice */
	printf("free after pthread_exit from a cookie: %d\n", ftrylockfile(cookie) == 0);
	__fpurge(cookie);				/* or exit writes it once more */
}

/* --- locks taken inside libc --- */

static void *flushes_all(void *arg)
{
	step = 1;
	CHECK_EQ(fflush(NULL), 0);
	return NULL;
}

static void *sleeps_with(void *arg)
{
	flockfile(arg);
	step = 1;
	prog_nap_ms(20);
	step = 2;
	funlockfile(arg);
	return NULL;
}

static void flush_all(void)
{
	char *big = calloc(1, 100000), c;
	pthread_t t, u;
	FILE *f;
	int p[2];

	/* it waits for a holder of ours */
	f = tmpfile();
	step = 0;
	t = prog_start(sleeps_with, f);
	wait_step(1);
	CHECK_EQ(fflush(NULL), 0);
	CHECK_EQ(step, 2);
	prog_join(t);
	fclose(f);

	/* ours wait for it, while it writes into a full pipe */
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
	while (write(p[1], big, 4096) > 0)
		;
	CHECK_EQ(fcntl(p[1], F_SETFL, 0), 0);
	out = fdopen(p[1], "w");
	CHECK(fputs("text", out) >= 0);
	step = 0;
	t = prog_start(flushes_all, NULL);
	wait_step(1);
	prog_nap_ms(10);
	waiting = passed = 0;
	u = prog_start(waits, NULL);
	prog_nap_ms(10);
	CHECK_EQ(passed, 0);
	for (int i = 0; i < 65536; i++)
		CHECK_EQ(read(p[0], &c, 1), 1);
	prog_join(t);
	prog_join(u);
	CHECK_EQ(passed, 1);
	CHECK_EQ(fclose(out), 0);
	close(p[0]);
	free(big);
}

int main(int argc, char **argv)
{
	prog_init();
	lines = 50 * prog_scale(argc, argv);
	lines_to_files();
	flush_all();
	by_caller();
	forks();
	/* these leave streams locked by threads that have ended */
	holder_sleeps();
	cookies();
	puts("ok");
	return 0;
}
