/* SPDX-License-Identifier: MIT */
/*
 * stdio under contention: 20 threads print lines to one FILE over a pipe and no line is torn or
 * lost, flockfile keeps several calls together, and a reader blocked in fgets does not stop the
 * others.
 */
#include "prog.h"

#define WRITERS	20

static FILE *out;
static int lines;

static void *prints(void *arg)
{
	int id = (int)(long)arg;
	char text[40];

	memset(text, 'a' + id, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < lines; i++) {
		if (i % 3) {
			CHECK(fprintf(out, "%d %d %.*s\n", id, i, i % 39, text) > 0);
		} else {
			flockfile(out);
			CHECK(fprintf(out, "%d %d ", id, i) > 0);
			if (i % 30 == 0)
				sched_yield();		/* while holding the stream */
			for (int j = 0; j < i % 39; j++)
				CHECK(putc_unlocked('a' + id, out) != EOF);
			CHECK(putc('\n', out) != EOF);
			funlockfile(out);
		}
		if (i % 64 == 0)
			CHECK_EQ(fflush(out), 0);
	}
	return NULL;
}

static void *reads(void *arg)
{
	int next[WRITERS] = { 0 }, id, i, used;
	char line[200];
	FILE *in = arg;

	while (fgets(line, sizeof(line), in)) {
		CHECK_EQ(sscanf(line, "%d %d%n", &id, &i, &used), 2);
		CHECK(id >= 0 && id < WRITERS);
		CHECK_EQ(i, next[id]);			/* a thread's lines stay in order */
		next[id]++;
		CHECK_EQ(line[used++], ' ');
		for (int j = 0; j < i % 39; j++)
			CHECK_EQ(line[used + j], 'a' + id);
		CHECK_EQ(line[used + i % 39], '\n');
		CHECK_EQ(line[used + i % 39 + 1], '\0');
	}
	for (int j = 0; j < WRITERS; j++)
		CHECK_EQ(next[j], lines);
	fclose(in);
	return NULL;
}

static void *tries_lock(void *arg)
{
	CHECK(ftrylockfile(arg) != 0);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[WRITERS], reader;
	int p[2];

	prog_init();
	lines = 500 * prog_scale(argc, argv);
	CHECK_EQ(pipe(p), 0);
	out = fdopen(p[1], "w");
	CHECK(out);
	reader = prog_start(reads, fdopen(p[0], "r"));
	prog_nap_ms(2);				/* it blocks in fgets meanwhile */
	for (long i = 0; i < WRITERS; i++)
		ts[i] = prog_start(prints, (void *)i);
	for (int i = 0; i < WRITERS; i++)
		prog_join(ts[i]);
	flockfile(out);
	flockfile(out);				/* recursive, owned by the thread */
	prog_join(prog_start(tries_lock, out));
	funlockfile(out);
	funlockfile(out);
	CHECK_EQ(fclose(out), 0);
	prog_join(reader);
	puts("ok");
	return 0;
}
