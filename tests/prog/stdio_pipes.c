/* SPDX-License-Identifier: MIT */
/*
 * stdio on pipes: 1,000 threads blocked in fgets, fread, getline, getc and fscanf, in the middle of a line too, and
 * writers in front of full pipes, hold no kernel thread each when the shim is live, and let another thread compute.
 * Ends of file, errors, EINTR, EAGAIN, EPIPE and cancellation are as on NPTL.
 */
#include "prog.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <wchar.h>

#define KINDS	6
#define MAX	1000
#define WRITERS	200
#define BIG	200000

static int readers = MAX, halves, got;
static int fds[MAX][2];
static volatile int stop;
static volatile long turns;

static void *computes(void *arg)
{
	while (!stop)
		turns++;
	return NULL;
}

static void makes_progress(void)
{
	long before = turns;

	while (turns == before)
		prog_nap_ms(10);
}

/* Each gets "line <id> of many\n" in two halves, then end of file. */
static void *reads(void *arg)
{
	int id = (int)(long)arg, n = 0, c;
	char want[40], line[40] = "", *p = NULL;
	FILE *in = fdopen(fds[id][0], "r");
	size_t size = 0;

	CHECK(in);
	if (id % 7 == 6)
		setvbuf(in, NULL, _IONBF, 0);
	sprintf(want, "line %d of many\n", id);
	switch (id % KINDS) {
	case 0:
		CHECK(fgets(line, sizeof(line), in));
		break;
	case 1:
		CHECK_EQ(fread(line, 1, strlen(want), in), strlen(want));
		break;
	case 2:
		CHECK_EQ(getline(&p, &size, in), (ssize_t)strlen(want));
		strcpy(line, p);
		free(p);
		break;
	case 3:
		while ((c = n % 2 ? getc(in) : getc_unlocked(in)) != EOF && n < 38) {
			line[n++] = (char)c;
			if (c == '\n')
				break;
		}
		break;
	case 4:
		CHECK_EQ(fscanf(in, "line %d of%c", &n, line), 2);
		CHECK_EQ(n, id);
		CHECK_EQ(line[0], ' ');
		sprintf(line, "line %d of ", id);
		CHECK_EQ(fread(line + strlen(line), 5, 1, in), 1);
		break;
	case 5:
		for (wint_t w; n < 38 && (w = fgetwc(in)) != WEOF && w != L'\n';)
			line[n++] = (char)w;
		line[n] = '\n';
		break;
	}
	CHECK(strcmp(line, want) == 0);
	__atomic_add_fetch(&halves, 1, __ATOMIC_RELAXED);
	if (id % KINDS == 5)
		CHECK_EQ(fgetwc(in), WEOF);
	else
		CHECK_EQ(fgetc(in), EOF);
	CHECK(feof(in));
	CHECK(!ferror(in));
	CHECK_EQ(fclose(in), 0);
	__atomic_add_fetch(&got, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void many_readers(void)
{
	static pthread_t ts[MAX];
	pthread_t hog = prog_start(computes, NULL);
	char text[40];

	for (int i = 0; i < readers; i++)
		CHECK_EQ(pipe(fds[i]), 0);
	for (long i = 0; i < readers; i++)
		ts[i] = prog_start(reads, (void *)i);
	makes_progress();
	for (int i = 0; i < readers; i++) {
		sprintf(text, "line %d", i);
		CHECK_EQ(write(fds[i][1], text, strlen(text)), (ssize_t)strlen(text));
	}
	makes_progress();
	CHECK_EQ(halves, 0);
	for (int i = 0; i < readers; i++)
		CHECK_EQ(write(fds[i][1], " of many\n", 9), 9);
	while (__atomic_load_n(&halves, __ATOMIC_RELAXED) < readers)
		prog_nap_ms(10);
	prog_few_kthreads(readers);		/* all have waited, and wait again */
	CHECK_EQ(__atomic_load_n(&got, __ATOMIC_RELAXED), 0);
	for (int i = 0; i < readers; i++)
		close(fds[i][1]);
	stop = 1;
	prog_join(hog);
	for (int i = 0; i < readers; i++)
		prog_join(ts[i]);
	CHECK_EQ(got, readers);
}

static void *writes(void *arg)
{
	int id = (int)(long)arg;
	FILE *out = fdopen(fds[id][1], "w");
	static char buf[BIG / 4];

	CHECK(out);
	for (int i = 0; i < 4; i++) {
		if (i % 2) {
			CHECK_EQ(fwrite(buf, 1, sizeof(buf), out), sizeof(buf));
		} else {
			for (size_t j = 0; j < sizeof(buf); j += 10)
				CHECK_EQ(fprintf(out, "%09d\n", id), 10);
		}
	}
	if (id % 2)
		CHECK_EQ(fflush(out), 0);
	CHECK_EQ(fclose(out), 0);
	return NULL;
}

static void full_pipes(void)
{
	pthread_t ts[WRITERS];
	static char buf[BIG + 1];

	for (long i = 0; i < WRITERS; i++) {
		CHECK_EQ(pipe(fds[i]), 0);
		ts[i] = prog_start(writes, (void *)i);
	}
	for (int i = 0; i < WRITERS; i++) {
		size_t n = 0;
		ssize_t rc;
		char want[12];

		while ((rc = read(fds[i][0], buf + n, sizeof(buf) - n)) > 0)
			n += (size_t)rc;
		CHECK_EQ(rc, 0);
		CHECK_EQ(n, BIG);
		sprintf(want, "%09d\n", i);
		CHECK(memcmp(buf, want, 10) == 0);
		CHECK(memcmp(buf + BIG / 2, want, 10) == 0);
		CHECK_EQ(buf[BIG - 1], 0);
		close(fds[i][0]);
	}
	for (int i = 0; i < WRITERS; i++)
		prog_join(ts[i]);
	prog_few_kthreads(WRITERS);
}

/* --- errors --- */

static void on_signal(int sig)
{
}

struct interrupted {
	FILE *in;
	volatile int done;
};

static void *is_interrupted(void *arg)
{
	struct interrupted *s = arg;
	char line[20];

	errno = 0;
	CHECK(fgets(line, sizeof(line), s->in) == NULL);
	CHECK_EQ(errno, EINTR);
	CHECK(ferror(s->in));
	CHECK(!feof(s->in));
	clearerr(s->in);
	s->done = 1;
	return NULL;
}

static void *is_restarted(void *arg)
{
	struct interrupted *s = arg;
	char line[20];

	CHECK(fgets(line, sizeof(line), s->in));
	CHECK(strcmp(line, "late\n") == 0);
	CHECK(!ferror(s->in));
	s->done = 1;
	return NULL;
}

static void signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct interrupted s = { 0 };
	pthread_t t;
	int p[2];

	CHECK_EQ(pipe(p), 0);
	s.in = fdopen(p[0], "r");
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	t = prog_start(is_interrupted, &s);
	while (!s.done) {			/* the first ones may come before it waits */
		prog_nap_ms(5);
		pthread_kill(t, SIGUSR1);
	}
	prog_join(t);
	s.done = 0;
	sa.sa_flags = SA_RESTART;
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	t = prog_start(is_restarted, &s);
	for (int i = 0; i < 10; i++) {
		prog_nap_ms(3);
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
	}
	CHECK_EQ(s.done, 0);
	CHECK_EQ(write(p[1], "late\n", 5), 5);
	prog_join(t);
	fclose(s.in);
	close(p[1]);
}

static void *errors(void *arg)
{
	FILE *f;
	char c;
	int p[2];

	CHECK_EQ(pipe2(p, O_NONBLOCK), 0);
	f = fdopen(p[0], "r");
	errno = 0;
	CHECK_EQ(fgetc(f), EOF);
	CHECK_EQ(errno, EAGAIN);
	CHECK(ferror(f));
	clearerr(f);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_EQ(fread(&c, 1, 1, f), 1);
	fclose(f);
	f = fdopen(p[1], "w");			/* nobody reads */
	CHECK_EQ(fputs("lost", f), 1);
	errno = 0;
	CHECK_EQ(fflush(f), EOF);
	CHECK_EQ(errno, EPIPE);
	CHECK(ferror(f));
	printf("fclose after EPIPE: %d\n", fclose(f));

	CHECK_EQ(pipe(p), 0);			/* the wrong way round */
	f = fdopen(p[1], "w");
	errno = 0;
	CHECK_EQ(fgetc(f), EOF);
	CHECK_EQ(errno, EBADF);
	clearerr(f);
	CHECK_EQ(fwrite("a", 0, 7, f), 0);
	CHECK_EQ(fread(&c, 1, 0, f), 0);
	CHECK(!ferror(f));
	CHECK_EQ(setvbuf(f, NULL, _IONBF, 0), 0);
	CHECK_EQ(fprintf(f, "%d%s", 1, "2"), 2);
	CHECK_EQ(read(p[0], &c, 1), 1);
	CHECK_EQ(c, '1');
	close(p[0]);
	CHECK_EQ(fputc('x', f), EOF);
	CHECK_EQ(errno, EPIPE);
	CHECK_EQ(fclose(f), 0);

	CHECK(fdopen(p[1], "r") == NULL);	/* closed */
	CHECK_EQ(errno, EBADF);
	return NULL;
}

static void *blocks_in_fgets(void *arg)
{
	char line[20];

	fgets(line, sizeof(line), arg);
	CHECK(0);
	return NULL;
}

static void *blocks_in_fputs(void *arg)
{
	for (;;)
		CHECK(fputs("more and more\n", arg) != EOF);
	return NULL;
}

static void *gets_second(void *arg)
{
	char line[20];

	CHECK(fgets(line, sizeof(line), arg));
	CHECK(strcmp(line, "second\n") == 0);
	return NULL;
}

/* A cancelled thread gives the stream back, also to those who wait for it. */
static void cancels(void)
{
	pthread_t t, u;
	FILE *in, *out;
	int p[2];

	CHECK_EQ(pipe(p), 0);
	in = fdopen(p[0], "r");
	out = fdopen(p[1], "w");
	t = prog_start(blocks_in_fgets, in);
	while (ftrylockfile(in) == 0) {		/* else the other may be the first */
		funlockfile(in);
		sched_yield();
	}
	u = prog_start(gets_second, in);
	prog_nap_ms(5);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK_EQ(fputs("second\n", out), 1);
	CHECK_EQ(fflush(out), 0);
	prog_join(u);
	t = prog_start(blocks_in_fputs, out);
	prog_nap_ms(20);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK_EQ(ftrylockfile(out), 0);
	funlockfile(out);
	fclose(in);
	printf("fclose after a cancelled write: %d\n", fclose(out));
}

/* --- children --- */

static void *reads_child(void *arg)
{
	char line[20];
	FILE *f = popen("sleep 0.1; echo hello; exit 3", "r");

	CHECK(f);
	CHECK(fgets(line, sizeof(line), f));
	CHECK(strcmp(line, "hello\n") == 0);
	CHECK(fgets(line, sizeof(line), f) == NULL);
	CHECK(feof(f));
	CHECK_EQ(WEXITSTATUS(pclose(f)), 3);
	return NULL;
}

static void *own_name(void *arg)
{
	char name[] = "/tmp/stdio_pipes.XXXXXX", line[20];
	int fd = mkstemp(name);
	FILE *f;

	CHECK(fd >= 0);
	close(fd);
	f = fopen(name, "w+");
	unlink(name);
	CHECK(f);
	for (int i = 0; i < 3000; i++)
		CHECK_EQ(fprintf(f, "%05d\n", i), 6);
	rewind(f);
	for (int i = 0; i < 3000; i++) {
		CHECK(fgets(line, sizeof(line), f));
		CHECK_EQ(atoi(line), i);
	}
	CHECK(fgets(line, sizeof(line), f) == NULL);
	CHECK_EQ(fseek(f, 60, SEEK_SET), 0);
	CHECK_EQ(ftell(f), 60);
	CHECK_EQ(fputs("abcde", f), 1);
	CHECK_EQ(fseek(f, -5, SEEK_CUR), 0);
	CHECK(fgets(line, sizeof(line), f));
	CHECK(strcmp(line, "abcde\n") == 0);
	CHECK_EQ(fseek(f, 0, SEEK_END), 0);
	CHECK_EQ(ftello(f), 18000);
	CHECK_EQ(fclose(f), 0);
	return NULL;
}

int main(void)
{
	struct rlimit lim;
	pthread_t ts[10];

	prog_init();
	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_cur < 2 * MAX + 50)
		readers = (int)(lim.rlim_cur - 50) / 2;
	many_readers();
	full_pipes();
	signals();
	prog_join(prog_start(errors, NULL));
	cancels();
	for (int i = 0; i < 10; i++)
		ts[i] = prog_start(i % 2 ? reads_child : own_name, NULL);
	for (int i = 0; i < 10; i++)
		prog_join(ts[i]);
	puts("ok");
	return 0;
}
