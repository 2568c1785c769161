/* SPDX-License-Identifier: MIT */
/*
 * Streams: the functions on stdin and stdout, the wide ones, those that take a va_list, err and syslog; and what is
 * left of the thread functions. A native run must print the same.
 */
#undef _FILE_OFFSET_BITS /* functions under their own names, */
#define __NO_INLINE__	 /* and called */
#include "prog.h"

#include <err.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <syslog.h>
#include <threads.h>
#include <wchar.h>

/* Names that the headers replace by others. */
int plain_scanf(const char *fmt, ...) __asm__("scanf");
int plain_fscanf(FILE *f, const char *fmt, ...) __asm__("fscanf");
int plain_vscanf(const char *fmt, va_list ap) __asm__("vscanf");
int plain_vfscanf(FILE *f, const char *fmt, va_list ap) __asm__("vfscanf");
int plain_wscanf(const wchar_t *fmt, ...) __asm__("wscanf");
int plain_fwscanf(FILE *f, const wchar_t *fmt, ...) __asm__("fwscanf");
int plain_vwscanf(const wchar_t *fmt, va_list ap) __asm__("vwscanf");
int plain_vfwscanf(FILE *f, const wchar_t *fmt, va_list ap) __asm__("vfwscanf");
int __isoc99_wscanf(const wchar_t *fmt, ...);
int __isoc99_vwscanf(const wchar_t *fmt, va_list ap);
int __vprintf_chk(int flag, const char *fmt, va_list ap);
int __wprintf_chk(int flag, const wchar_t *fmt, ...);
int __vwprintf_chk(int flag, const wchar_t *fmt, va_list ap);
void __vsyslog_chk(int pri, int flag, const char *fmt, va_list ap);
int _IO_getc(FILE *f);
int _IO_putc(int c, FILE *f);
int __pthread_key_create(pthread_key_t *key, void (*destructor)(void *));

static char path[] = "/tmp/gmpshim-stdio-XXXXXX";
static int real_stdout;

/* which: one of the functions that take a va_list. */
static int with_list(int which, ...)
{
	va_list ap;
	int ret = 0;

	va_start(ap, which);
	switch (which) {
	case 0:
		ret = vprintf("%d %s\n", ap);
		break;
	case 1:
		ret = __vprintf_chk(1, "%d %s\n", ap);
		break;
	case 2:
		ret = plain_vscanf("%d", ap);
		break;
	case 3:
		ret = plain_vfscanf(stdin, "%d", ap);
		break;
	case 4:
		ret = vwprintf(L"%d %s\n", ap);
		break;
	case 5:
		ret = vfwprintf(stdout, L"%d %s\n", ap);
		break;
	case 6:
		ret = __vwprintf_chk(1, L"%d %s\n", ap);
		break;
	case 7:
		ret = plain_vwscanf(L"%d", ap);
		break;
	case 8:
		ret = plain_vfwscanf(stdin, L"%d", ap);
		break;
	case 9:
		ret = __isoc99_vwscanf(L"%d", ap);
		break;
	case 10:
		vwarn("%d %s", ap);
		break;
	case 11:
		vwarnx("%d %s", ap);
		break;
	case 12:
		verr(12, "%d %s", ap);
	case 13:
		verrx(13, "%d %s", ap);
	case 14:
		vsyslog(LOG_DEBUG, "%d %s", ap);
		break;
	case 15:
		__vsyslog_chk(LOG_DEBUG, 1, "%d %s", ap);
		break;
	}
	va_end(ap);
	return ret;
}

static void input(const char *text)
{
	FILE *f = fopen(path, "w");

	CHECK(f);
	CHECK(fputs(text, f) >= 0);
	CHECK_EQ(fclose(f), 0);
	CHECK(freopen(path, "r", stdin));
}

static void bytes(void)
{
	char *line = NULL;
	size_t size = 0;
	fpos_t pos;
	int a = 0, b = 0, c = 0, d = 0;

	input("1 2 3 4xyz\nthe line\nsecret\n");
	printf("%d", plain_scanf("%d", &a));
	printf("%d", plain_fscanf(stdin, "%d", &b));
	printf("%d", with_list(2, &c));
	printf("%d: %d %d %d\n", with_list(3, &d), a, b, c);
	CHECK_EQ(d, 4);
	printf("%c%c", getchar(), _IO_getc(stdin));
	CHECK_EQ(fgetpos(stdin, &pos), 0);
	printf("%ld\n", (long)ftello(stdin));
	CHECK_EQ(getchar(), 'z');
	CHECK_EQ(fsetpos(stdin, &pos), 0);
	CHECK_EQ(fseeko(stdin, 1, SEEK_CUR), 0);
	CHECK_EQ(getchar(), '\n');
	printf("%ld %s", (long)getline(&line, &size, stdin), line);
	free(line);
	line = getpass("");
	printf("%s\n", line ? line : "NULL");
	CHECK_EQ(getchar(), EOF);
	printf("%d %d\n", putchar('p'), _IO_putc('q', stdout));
	printf("%d\n", with_list(0, 5, "five"));
	printf("%d\n", with_list(1, 6, "six"));
}

static void wide(void)
{
	int a = 0, b = 0, c = 0, d = 0, e = 0, n;
	wchar_t text[20];
	char line[60], where[40];
	FILE *f;

	input("1 2 3 4 5w the rest\n");
	printf("%d", plain_wscanf(L"%d", &a));
	printf("%d", plain_fwscanf(stdin, L"%d", &b));
	printf("%d", with_list(7, &c));
	printf("%d", with_list(8, &d));
	n = __isoc99_wscanf(L"%1d", &e);
	printf("%d: %d %d %d %d %d\n", n, a, b, c, d, e);
	CHECK_EQ(with_list(9, &a), 0); /* a letter */
	CHECK_EQ(getwchar(), L'w');
	CHECK(fgetws(text, 20, stdin) == text);
	printf("%d\n", wcscmp(text, L" the rest\n"));
	CHECK_EQ(fclose(stdin), 0);
	fflush(stdout);
	CHECK(freopen(path, "w", stdout));
	CHECK_EQ(putwchar(L'W'), L'W');
	CHECK_EQ(wprintf(L"%d\n", 7), 2);
	CHECK_EQ(fwprintf(stdout, L"%d\n", 8), 2);
	CHECK_EQ(__wprintf_chk(1, L"%d\n", 9), 2);
	CHECK_EQ(with_list(4, 1, "one"), 6);
	CHECK_EQ(with_list(5, 2, "two"), 6);
	CHECK_EQ(with_list(6, 3, "three"), 8);
	fflush(stdout);
	snprintf(where, sizeof(where), "/dev/fd/%d", real_stdout);
	CHECK(freopen(where, "a", stdout));
	setvbuf(stdout, NULL, _IOLBF, 0);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		fputs(line, stdout);
	fclose(f);
}

/* Into a file instead of stderr. */
static void errors(void)
{
	static char got[1000];
	siginfo_t si = { .si_signo = SIGUSR1, .si_code = SI_USER };
	int saved = dup(2), status;
	ssize_t n;
	FILE *f;

	CHECK(freopen(path, "w", stderr));
	errno = ENOENT;
	with_list(10, 1, "warn");
	with_list(11, 2, "warnx");
	si.si_pid = 1;
	psiginfo(&si, "signal");
	for (int i = 12; i < 15; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			errno = EPERM;
			if (i == 14)
				errx(14, "%d", 14);
			with_list(i, i, "exit");
			_exit(1);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		printf("%d\n", WEXITSTATUS(status));
	}
	fflush(stderr);
	dup2(saved, 2);
	f = fopen(path, "r");
	n = (ssize_t)fread(got, 1, sizeof(got) - 1, f);
	CHECK(n > 0);
	fclose(f);
	fputs(got, stdout);
	openlog("stdio_calls", LOG_NDELAY, LOG_USER);
	syslog(LOG_DEBUG, "%d", 1);
	with_list(14, 1, "log");
	with_list(15, 1, "log");
	closelog();
}

static mtx_t lock;
static cnd_t cond;
static int flag;

static int signals_cond(void *arg)
{
	mtx_lock(&lock);
	flag = 1;
	CHECK_EQ(cnd_signal(&cond), thrd_success);
	mtx_unlock(&lock);
	return 0;
}

static void threads(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t m, plain = PTHREAD_MUTEX_INITIALIZER;
	pthread_key_t key;
	thrd_t t;
	int old = -1;

	CHECK_EQ(mtx_init(&lock, mtx_plain), thrd_success);
	CHECK_EQ(cnd_init(&cond), thrd_success);
	mtx_lock(&lock);
	CHECK_EQ(thrd_create(&t, signals_cond, NULL), thrd_success);
	while (!flag)
		cnd_wait(&cond, &lock);
	mtx_unlock(&lock);
	CHECK_EQ(thrd_join(t, NULL), thrd_success);
	CHECK_EQ(__pthread_key_create(&key, NULL), 0);
	CHECK_EQ(pthread_key_delete(key), 0);
	CHECK_EQ(pthread_mutexattr_init(&attr), 0);
	CHECK_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_PROTECT), 0);
	CHECK_EQ(pthread_mutexattr_setprioceiling(&attr, 10), 0);
	CHECK_EQ(pthread_mutex_init(&m, &attr), 0);
	printf("%d\n", pthread_mutex_setprioceiling(&plain, 5, &old));
	printf("%d\n", pthread_mutex_setprioceiling(&m, 1000, &old));
	printf("%d\n", pthread_mutex_setprioceiling(&m, 20, &old));
	printf("%d\n", old);
}

static void *body(void *arg)
{
	bytes();
	wide();
	errors();
	threads();
	return arg;
}

int main(void)
{
	prog_init();
	CHECK(close(mkstemp(path)) == 0);
	real_stdout = dup(1);
	prog_join(prog_start(body, NULL));
	unlink(path);
	fflush(stdout);
	CHECK_EQ(fcloseall(), 0);
	return 0;
}
