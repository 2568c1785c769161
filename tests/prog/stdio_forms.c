/* SPDX-License-Identifier: MIT */
/*
 * Every form of the functions on streams once, called by a thread: variable arguments, va_list, fortified, wide,
 * scanning, positioning, messages on stderr, the system log. What they print is compared with NPTL.
 */
#define _FORTIFY_SOURCE 2
#include "prog.h"
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <syslog.h>
#include <wchar.h>

static volatile size_t many = 100;		/* keeps the sizes from the compiler */

static void narrow(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	CHECK(vfprintf(f, fmt, ap) > 0);
	va_end(ap);
	va_start(ap, fmt);
	CHECK(vprintf(fmt, ap) > 0);
	va_end(ap);
}

static void wide(FILE *f, const wchar_t *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	CHECK(vfwprintf(f, fmt, ap) > 0);
	va_end(ap);
}

static void scans(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	CHECK_EQ(vfscanf(f, fmt, ap), 2);
	va_end(ap);
}

static void wscans(FILE *f, const wchar_t *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	CHECK_EQ(vfwscanf(f, fmt, ap), 2);
	va_end(ap);
}

static void scans_stdin(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	CHECK_EQ(vscanf(fmt, ap), 2);
	va_end(ap);
}

static void narrow_forms(void)
{
	char line[100], *p = NULL, word[20];
	FILE *f = tmpfile();
	size_t size = 0;
	fpos_t pos;
	double d;
	int n, v;

	CHECK_EQ(printf("%s %d %.3f %c%n\n", "printf", 42, 1.5, 'x', &n), n + 1);
	CHECK_EQ(fprintf(f, "%2$s %1$d %3$Lf\n", 7, "seven", 2.25L), 17);
	narrow(f, "%d %s %ld\n", 1, "two", 3L);
	CHECK_EQ(puts("puts") > 0, 1);
	CHECK_EQ(putchar('p'), 'p');
	CHECK_EQ(putc('\n', stdout), '\n');
	CHECK(fputs("fputs\n", f) > 0);
	CHECK_EQ(fwrite("fwrite\n", 1, 7, f), 7);
	CHECK_EQ(putw(0x61626364, f), 0);
	CHECK_EQ(fflush(f), 0);
	CHECK_EQ(ftell(f), 17 + 8 + 6 + 7 + 4);
	rewind(f);
	CHECK(fgets(line, (int)many, f));
	fputs(line, stdout);
	CHECK_EQ(fgetpos(f, &pos), 0);
	scans(f, "%d %19s", &n, word);
	CHECK_EQ(n, 1);
	CHECK(strcmp(word, "two") == 0);
	CHECK_EQ(fsetpos(f, &pos), 0);
	CHECK_EQ(fscanf(f, "%d %19s %d", &v, word, &n), 3);
	CHECK_EQ(n, 3);
	CHECK_EQ(getc(f), '\n');
	CHECK_EQ(ungetc('#', f), '#');
	CHECK_EQ(getline(&p, &size, f), 7);
	fputs(p, stdout);
	CHECK_EQ(getdelim(&p, &size, 'r', f), 3);
	CHECK(strcmp(p, "fwr") == 0);
	CHECK_EQ(fread(line, 1, many < 4 ? many : 4, f), 4);
	CHECK_EQ(getw(f), 0x61626364);
	CHECK_EQ(fgetc(f), EOF);
	CHECK(feof(f));
	clearerr(f);
	CHECK(!feof(f));
	CHECK(!ferror(f));
	CHECK_EQ(fseeko(f, 0, SEEK_SET), 0);
	CHECK_EQ(fprintf(f, "%a\n12 0x1p3", 1.0), 15);
	rewind(f);
	CHECK_EQ(fscanf(f, "%la", &d), 1);
	printf("%a %Lg %.*f %'d\n", d, 3.5L, 2, 1.005, 1000);
	free(p);
	CHECK(freopen("/dev/null", "w", f) == f);
	setbuf(f, NULL);
	setlinebuf(f);
	setbuffer(f, NULL, 0);
	CHECK_EQ(fclose(f), 0);
}

static void scan_stdin(void)
{
	char word[20];
	int p[2], n;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(write(p[1], "11 eleven 12 twelve\nx", 21), 21);
	close(p[1]);
	CHECK_EQ(dup2(p[0], 0), 0);
	close(p[0]);
	CHECK_EQ(scanf("%d %19s", &n, word), 2);
	CHECK_EQ(n, 11);
	scans_stdin("%d %19s", &n, word);
	CHECK(strcmp(word, "twelve") == 0);
	CHECK_EQ(getchar(), '\n');
	CHECK_EQ(getchar(), 'x');
	CHECK_EQ(getchar(), EOF);
}

static void wide_forms(void)
{
	wchar_t line[100], word[20];
	FILE *f = tmpfile();
	int n;

	CHECK_EQ(fwprintf(f, L"%d %ls\n", 5, L"five"), 7);
	wide(f, L"%d %s\n", 6, "six");
	CHECK_EQ(fputws(L"fputws\n", f) >= 0, 1);
	CHECK_EQ(fputwc(L'w', f), L'w');
	CHECK_EQ(putwc(L'\n', f), L'\n');
	CHECK_EQ(fwide(f, 0) > 0, 1);
	CHECK_EQ(fprintf(f, "narrow"), -1);
	rewind(f);
	CHECK_EQ(fwscanf(f, L"%d %19ls", &n, word), 2);
	CHECK_EQ(n, 5);
	wscans(f, L"%d %19ls", &n, word);
	CHECK(wcscmp(word, L"six") == 0);
	CHECK_EQ(getwc(f), L'\n');
	CHECK(fgetws(line, (int)many, f));
	CHECK(wcscmp(line, L"fputws\n") == 0);
	CHECK_EQ(fgetwc(f), L'w');
	CHECK_EQ(ungetwc(L'u', f), L'u');
	CHECK_EQ(fgetwc(f), L'u');
	CHECK_EQ(fgetwc(f), L'\n');
	CHECK_EQ(fgetwc(f), WEOF);
	CHECK_EQ(fclose(f), 0);
}

/* Shows on stdout what was written to descriptor 2. */
static void show(int fd)
{
	char text[1000];
	ssize_t n = read(fd, text, sizeof(text));

	CHECK(n > 0);
	CHECK_EQ(fwrite(text, 1, (size_t)n, stdout), (size_t)n);
}

static void *ends_by_err(void *arg)
{
	errno = ENOENT;
	err(3, "%s", "err");
}

static void messages(void)
{
	int p[2], saved = dup(2), status;
	pid_t pid;

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(dup2(p[1], 2), 2);
	errno = EPERM;
	perror("perror");
	show(p[0]);
	fprintf(stderr, "%s\n", "stderr");
	warn("%s %d", "warn", 1);
	warnx("%s", "warnx");
	psignal(SIGUSR1, "psignal");
	show(p[0]);
	openlog("stdio_forms", LOG_PERROR, LOG_USER);
	syslog(LOG_DEBUG, "%s %m", "syslog");
	closelog();
	show(p[0]);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		prog_join(prog_start(ends_by_err, NULL));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	show(p[0]);
	CHECK_EQ(dup2(saved, 2), 2);
	close(saved);
	close(p[0]);
	close(p[1]);
}

static void *all(void *arg)
{
	narrow_forms();
	scan_stdin();
	wide_forms();
	messages();
	CHECK_EQ(dprintf(1, "%s\n", "dprintf"), 8);
	return NULL;
}

int main(void)
{
	prog_init();
	prog_join(prog_start(all, NULL));
	puts("ok");
	return 0;
}
