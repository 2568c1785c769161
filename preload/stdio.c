// SPDX-License-Identifier: MIT
/*
 * Streams. Two things inside libc block past the PLT: the lock of a FILE, and the read or write behind its buffer.
 *
 * The lock is recursive and its owner a TCB, so each G has its own. A hook takes it first, in libc's own words but
 * waiting in our queue, and then calls libc, for which it is a mere recursion. The clean-up attribute releases it, also
 * when a cancellation, pthread_exit or an exception of a cookie's function passes. Code that comes by no hook (libc's
 * own: fflush(NULL), error(); kernel threads that are no G do come by) locks natively; see gmp_shared_word_lock_slow.
 * The *_unlocked functions, and streams with FSETLOCKING_BYCALLER, need no hook.
 *
 * The I/O. Only libc knows when a call needs more input or has to flush, and it may need to several times, so no
 * hook could wait beforehand. But libc gets to the descriptor through the stream's table of functions, whose entries
 * are the exported _IO_file_read, _IO_file_write and _IO_file_close. When threads begin, these entries are replaced in
 * the tables of libc (they lie in its RELRO segment) by functions that call our read and write: a G parks in the
 * middle of fgets as in read, whoever called it, and a stream's buffer costs what it did. Where a table does not look
 * as expected nothing is replaced, and sysmon finds those that block (preempt.c).
 */
#include <stdarg.h>

#include "core/sema.h"
#include "preload/io.h"
#include "preload/locks.h"
#include "preload/resolve.h"

/* libio/libio.h */
#define IO_USER_LOCK	 0x8000 /* _flags: __fsetlocking(FSETLOCKING_BYCALLER) */
#define IO_IS_FILEBUF	 0x2000 /* _flags: has a descriptor, or a cookie in its place */
#define IO_ERR_SEEN	 0x0020 /* _flags */
#define FLAGS2_NOTCANCEL 2	/* _flags2: mode "c", no cancellation point */

/* sysdeps/nptl/stdio-lock.h: _IO_lock_t */
struct stream_lock {
	word32 word;
	int depth;
	void *owner; /* the TCB; only its own thread stores or finds itself here */
};

/* libio/libioP.h: struct _IO_jump_t */
enum { JUMP_READ = 14, JUMP_WRITE = 15, JUMP_CLOSE = 17, JUMPS = 21 };

/* What gmp_stdio_init found: THREAD_SELF - thread pointer, and the depth of a lock that is held once. */
static intptr_t self_offset;
static int held_once;

/* --- the lock --- */

static inline struct stream_lock *lock_of(FILE *fp)
{
	return (struct stream_lock *)(void *)fp->_lock;
}

static inline void *thread_self(void)
{
	return (void *)((intptr_t)arch_get_tp() + self_offset);
}

/* Threads may share streams, and this one may wait. Not in the child of vfork. */
static inline bool locking(void)
{
	if (unlikely(!live() || gmp_tls.inshim != 0))
		return false;
	stress_point();
	return true;
}

static noinline void take_slow(struct stream_lock *l, void *self)
{
	gmp_shared_word_lock_slow(&l->word);
	l->owner = self;
	l->depth = held_once;
	gmp_enter();
	gmp_leave();
}

/* Returns l, or NULL when it was the caller's already. */
static inline struct stream_lock *take(struct stream_lock *l)
{
	void *self = thread_self();
	uint32_t free = 0;

	if (l->owner == self)
		return NULL;
	/* acquire: pairs with the release in drop() and libc's */
	if (unlikely(!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
							      memory_order_relaxed))) {
		take_slow(l, self);
		return l;
	}
	l->owner = self;
	l->depth = held_once;
	return l;
}

static inline void drop(struct stream_lock *l)
{
	uint32_t one = 1;

	if (unlikely(l->depth != held_once)) { /* the program locked it in between, and keeps it */
		l->depth--;
		return;
	}
	l->depth = 0;
	l->owner = NULL;
	/* release: what was done to the stream; pairs with take() */
	if (unlikely(!atomic_compare_exchange_strong_explicit(&l->word, &one, 0, memory_order_release,
							      memory_order_relaxed)))
		gmp_shared_word_unlock_slow(&l->word);
}

static inline struct stream_lock *own(FILE *fp)
{
	return unlikely(fp->_flags & IO_USER_LOCK) ? NULL : take(lock_of(fp));
}

static inline void disown(struct stream_lock **l)
{
	if (*l != NULL)
		drop(*l);
}

/* Own fp until the end of the block. */
#define OWN(fp) struct stream_lock *owned_ __attribute__((cleanup(disown), unused)) = own(fp)

void hook_flockfile(FILE *fp)
{
	if (!locking() || take(lock_of(fp)) == NULL)
		PASS(flockfile)(fp);
}

void hook_funlockfile(FILE *fp)
{
	if (locking() && lock_of(fp)->owner == thread_self())
		drop(lock_of(fp));
	else
		PASS(funlockfile)(fp);
}

/* At boot, on a stream of our own: is the lock laid out and counted as we know it? */
const char *gmp_stdio_init(void)
{
	struct stream_lock l = {0};
	FILE f = {._lock = (void *)&l};

	real.flockfile(&f);
	self_offset = (intptr_t)l.owner - (intptr_t)arch_get_tp();
	held_once = l.depth;
	if (l.word != 1 || l.owner != (void *)pthread_self() || (held_once != 0 && held_once != 1))
		return "the lock of a stream is not as in glibc 2.34 to 2.36";
	real.funlockfile(&f);
	if (l.word != 0 || l.owner != NULL || l.depth != 0)
		return "the lock of a stream is not as in glibc 2.34 to 2.36";
	return NULL;
}

/* --- the descriptor --- */

static void restore_cancel(int *state)
{
	if (*state >= 0)
		real.pthread_setcancelstate(*state, NULL);
}

/* A stream of mode "c" is no cancellation point. */
static int forbid_cancel(FILE *fp)
{
	int old = -1;

	if (unlikely(fp->_flags2 & FLAGS2_NOTCANCEL))
		real.pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	return old;
}

static ssize_t file_read(FILE *fp, void *buf, ssize_t n)
{
	int state __attribute__((cleanup(restore_cancel), unused)) = forbid_cancel(fp);

	return hook_read(fp->_fileno, buf, (size_t)n);
}

static ssize_t file_write(FILE *fp, const void *buf, ssize_t n)
{
	int state __attribute__((cleanup(restore_cancel), unused)) = forbid_cancel(fp);
	ssize_t done = 0;

	while (done < n) {
		ssize_t rc = hook_write(fp->_fileno, (const char *)buf + done, (size_t)(n - done));

		if (rc < 0) {
			fp->_flags |= IO_ERR_SEEN;
			break;
		}
		done += rc;
	}
	if (fp->_offset >= 0) /* the file offset, where libc knows it */
		fp->_offset += done;
	return done;
}

static int file_close(FILE *fp)
{
	int ret;

	bool at_once = gmp_fd_closes_at_once(fp->_fileno);

	gmp_fd_forget(fp->_fileno);
	if (at_once || !on_g())
		return real._IO_file_close(fp);
	HANDOFF_ONCE(ret, real._IO_file_close(fp));
	return ret;
}

/* Its descriptor, or a negative number; fileno() would set errno. */
static int fd_of(FILE *fp)
{
	return fp->_flags & IO_IS_FILEBUF ? fp->_fileno : -1;
}

/* The table of fp, behind the FILE; struct _IO_FILE_plus. */
static const void *const *jumps_of(FILE *fp)
{
	return *(const void *const **)(void *)(fp + 1);
}

static void patch(const void **table)
{
	table[JUMP_READ] = (const void *)(uintptr_t)file_read;
	table[JUMP_WRITE] = (const void *)(uintptr_t)file_write;
	if (table[JUMP_CLOSE] == (const void *)(uintptr_t)real._IO_file_close)
		table[JUMP_CLOSE] = (const void *)(uintptr_t)file_close;
}

static bool is_file_table(const void *const *table)
{
	return table[JUMP_READ] == (const void *)(uintptr_t)real._IO_file_read &&
	       table[JUMP_WRITE] == (const void *)(uintptr_t)real._IO_file_write;
}

static int find_relro(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t *range = arg;

	(void)size;
	if (info->dlpi_addr != gmp_libc.base)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
			range[0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			range[1] = range[0] + info->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

/* Narrow, wide, mapped and popen'd streams have each a table; only the first two are exported, so all are searched. */
void gmp_stdio_live(void)
{
	uintptr_t range[2] = {0}, page = sched.page_size, lo, len;
	const void *const *first = *real._IO_file_jumps;

	dl_iterate_phdr(find_relro, range);
	if ((uintptr_t)first < range[0] || (uintptr_t)(first + JUMPS) > range[1] || !is_file_table(first) ||
	    first[JUMP_CLOSE] != (const void *)(uintptr_t)real._IO_file_close)
		return;
	lo = range[0] & -page;
	len = ((range[1] + page - 1) & -page) - lo;
	if (sys3(__NR_mprotect, lo, len, PROT_READ | PROT_WRITE) != 0)
		return;
	for (const void **t = (const void **)range[0]; (uintptr_t)(t + JUMPS) <= range[1]; t++)
		if (is_file_table(t))
			patch(t);
	sys3(__NR_mprotect, lo, len, PROT_READ);
}

/* --- opening and closing --- */

/* Opening a FIFO waits for its other end. */
#define OPENS(name, params, args)                                  \
	FILE *hook_##name params                                   \
	{                                                          \
		FILE *ret;                                         \
                                                                   \
		if (on_g()) {                                      \
			stress_point();                            \
			HANDOFF_ONCE(ret, real.name args);         \
		} else {                                           \
			ret = PASS(name) args;                     \
		}                                                  \
		if (ret != NULL)                                   \
			gmp_fd_made(fd_of(ret));            \
		return ret;                                        \
	}

OPENS(fopen, (const char *path, const char *mode), (path, mode))
OPENS(fopen64, (const char *path, const char *mode), (path, mode))
OPENS(popen, (const char *command, const char *mode), (command, mode))
OPENS(tmpfile, (void), ())
OPENS(tmpfile64, (void), ())

#define REOPENS(name)                                                   \
	static FILE *re_##name(const char *path, const char *mode, FILE *fp) \
	{                                                               \
		FILE *ret;                                              \
		OWN(fp);                                                \
                                                                        \
		if (!on_g())                                            \
			return real.name(path, mode, fp);               \
		HANDOFF_ONCE(ret, real.name(path, mode, fp));           \
		return ret;                                             \
	}                                                               \
                                                                        \
	FILE *hook_##name(const char *path, const char *mode, FILE *fp) \
	{                                                               \
		FILE *ret;                                              \
                                                                        \
		gmp_fd_forget(fd_of(fp));                        \
		ret = locking() ? re_##name(path, mode, fp) : PASS(name)(path, mode, fp); \
		if (ret != NULL)                                        \
			gmp_fd_made(fd_of(ret));                 \
		return ret;                                             \
	}

REOPENS(freopen)
REOPENS(freopen64)

/*
 * The lock is waited for, but not held: libc takes that of the list of streams first, then the stream's, as
 * fflush(NULL) and fork do, and a thread that came with the second would wait for them while they wait for it. A
 * popen'd stream waits for its child. All others flush and close through the table, and a cookie's function must not
 * run as a system call.
 */
static int close_stream(FILE *fp, int (*fn)(FILE *fp))
{
	struct stream_lock *l = own(fp);
	int ret;

	disown(&l);
	if (fd_of(fp) < 0 || jumps_of(fp)[JUMP_CLOSE] == (const void *)(uintptr_t)file_close)
		return fn(fp);
	gmp_fd_forget(fd_of(fp));
	if (!on_g())
		return fn(fp);
	HANDOFF_ONCE(ret, fn(fp));
	return ret;
}

int hook_fclose(FILE *fp)
{
	if (!locking()) {
		gmp_fd_forget(fd_of(fp));
		return PASS(fclose)(fp);
	}
	return close_stream(fp, real.fclose);
}

int hook_pclose(FILE *fp)
{
	if (!locking()) {
		gmp_fd_forget(fd_of(fp));
		return PASS(pclose)(fp);
	}
	return close_stream(fp, real.pclose);
}

/* Locks all streams, one after the other, also those on which somebody waits. */
int hook_fcloseall(void)
{
	int ret;

	if (!on_g())
		return PASS(fcloseall)();
	HANDOFF_ONCE(ret, real.fcloseall());
	return ret;
}

int hook_fflush(FILE *fp)
{
	int ret;

	if (!locking())
		return PASS(fflush)(fp);
	if (fp != NULL) {
		OWN(fp);

		return real.fflush(fp);
	}
	if (!on_g())
		return real.fflush(NULL);
	HANDOFF_ONCE(ret, real.fflush(NULL)); /* as fcloseall */
	return ret;
}

/* --- single characters: the buffer is at hand --- */

#define GETC(name, params, args, fp)                   \
	int hook_##name params                         \
	{                                              \
		if (unlikely(!locking()))              \
			return PASS(name) args;        \
		OWN(fp);                               \
		return __getc_unlocked_body(fp);       \
	}

#define PUTC(name, params, args, c, fp)                \
	int hook_##name params                         \
	{                                              \
		if (unlikely(!locking()))              \
			return PASS(name) args;        \
		OWN(fp);                               \
		return __putc_unlocked_body((c), (fp)); \
	}

GETC(fgetc, (FILE * fp), (fp), fp)
GETC(getc, (FILE * fp), (fp), fp)
GETC(_IO_getc, (FILE * fp), (fp), fp)
GETC(getchar, (void), (), stdin)
PUTC(fputc, (int c, FILE *fp), (c, fp), c, fp)
PUTC(putc, (int c, FILE *fp), (c, fp), c, fp)
PUTC(_IO_putc, (int c, FILE *fp), (c, fp), c, fp)
PUTC(putchar, (int c), (c), c, stdout)

/* --- all others: libc's function under the lock --- */

#define LOCKED(type, name, params, args, fp)           \
	type hook_##name params                        \
	{                                              \
		if (unlikely(!locking()))              \
			return PASS(name) args;        \
		OWN(fp);                               \
		return real.name args;                 \
	}

/* With a variable number of arguments, by its v... form. */
#define LOCKED_V(name, params, last, vname, vargs, fp) \
	int hook_##name params                         \
	{                                              \
		va_list ap;                            \
		int ret;                               \
                                                       \
		va_start(ap, last);                    \
		if (likely(locking())) {               \
			OWN(fp);                       \
			ret = real.vname vargs;        \
		} else {                               \
			ret = PASS(vname) vargs;       \
		}                                      \
		va_end(ap);                            \
		return ret;                            \
	}

LOCKED(int, getw, (FILE * fp), (fp), fp)
LOCKED(int, putw, (int w, FILE *fp), (w, fp), fp)
LOCKED(int, ungetc, (int c, FILE *fp), (c, fp), fp)
LOCKED(char *, fgets, (char *buf, int n, FILE *fp), (buf, n, fp), fp)
LOCKED(char *, __fgets_chk, (char *buf, size_t size, int n, FILE *fp), (buf, size, n, fp), fp)
LOCKED(size_t, fread, (void *buf, size_t width, size_t n, FILE *fp), (buf, width, n, fp), fp)
LOCKED(size_t, __fread_chk, (void *buf, size_t size, size_t width, size_t n, FILE *fp), (buf, size, width, n, fp), fp)
LOCKED(ssize_t, getline, (char **line, size_t *size, FILE *fp), (line, size, fp), fp)
LOCKED(ssize_t, getdelim, (char **line, size_t *size, int delim, FILE *fp), (line, size, delim, fp), fp)
LOCKED(ssize_t, __getdelim, (char **line, size_t *size, int delim, FILE *fp), (line, size, delim, fp), fp)
LOCKED(int, fputs, (const char *s, FILE *fp), (s, fp), fp)
LOCKED(int, puts, (const char *s), (s), stdout)
LOCKED(size_t, fwrite, (const void *buf, size_t width, size_t n, FILE *fp), (buf, width, n, fp), fp)
LOCKED(int, fseek, (FILE * fp, long off, int whence), (fp, off, whence), fp)
LOCKED(int, fseeko, (FILE * fp, off_t off, int whence), (fp, off, whence), fp)
LOCKED(int, fseeko64, (FILE * fp, off64_t off, int whence), (fp, off, whence), fp)
LOCKED(long, ftell, (FILE * fp), (fp), fp)
LOCKED(off_t, ftello, (FILE * fp), (fp), fp)
LOCKED(off64_t, ftello64, (FILE * fp), (fp), fp)
LOCKED(void, rewind, (FILE * fp), (fp), fp)
LOCKED(int, fgetpos, (FILE * fp, fpos_t *pos), (fp, pos), fp)
LOCKED(int, fgetpos64, (FILE * fp, fpos64_t *pos), (fp, pos), fp)
LOCKED(int, fsetpos, (FILE * fp, const fpos_t *pos), (fp, pos), fp)
LOCKED(int, fsetpos64, (FILE * fp, const fpos64_t *pos), (fp, pos), fp)
LOCKED(void, setbuf, (FILE * fp, char *buf), (fp, buf), fp)
LOCKED(void, setbuffer, (FILE * fp, char *buf, size_t size), (fp, buf, size), fp)
LOCKED(void, setlinebuf, (FILE * fp), (fp), fp)
LOCKED(int, setvbuf, (FILE * fp, char *buf, int mode, size_t size), (fp, buf, mode, size), fp)
LOCKED(void, clearerr, (FILE * fp), (fp), fp)
LOCKED(int, feof, (FILE * fp), (fp), fp)
LOCKED(int, ferror, (FILE * fp), (fp), fp)

LOCKED(int, vprintf, (const char *fmt, va_list ap), (fmt, ap), stdout)
LOCKED(int, vfprintf, (FILE * fp, const char *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED(int, __vprintf_chk, (int flag, const char *fmt, va_list ap), (flag, fmt, ap), stdout)
LOCKED(int, __vfprintf_chk, (FILE * fp, int flag, const char *fmt, va_list ap), (fp, flag, fmt, ap), fp)
LOCKED_V(printf, (const char *fmt, ...), fmt, vprintf, (fmt, ap), stdout)
LOCKED_V(fprintf, (FILE * fp, const char *fmt, ...), fmt, vfprintf, (fp, fmt, ap), fp)
LOCKED_V(__printf_chk, (int flag, const char *fmt, ...), fmt, __vprintf_chk, (flag, fmt, ap), stdout)
LOCKED_V(__fprintf_chk, (FILE * fp, int flag, const char *fmt, ...), fmt, __vfprintf_chk, (fp, flag, fmt, ap), fp)

LOCKED(int, vscanf, (const char *fmt, va_list ap), (fmt, ap), stdin)
LOCKED(int, vfscanf, (FILE * fp, const char *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED(int, __isoc99_vscanf, (const char *fmt, va_list ap), (fmt, ap), stdin)
LOCKED(int, __isoc99_vfscanf, (FILE * fp, const char *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED_V(scanf, (const char *fmt, ...), fmt, vscanf, (fmt, ap), stdin)
LOCKED_V(fscanf, (FILE * fp, const char *fmt, ...), fmt, vfscanf, (fp, fmt, ap), fp)
LOCKED_V(__isoc99_scanf, (const char *fmt, ...), fmt, __isoc99_vscanf, (fmt, ap), stdin)
LOCKED_V(__isoc99_fscanf, (FILE * fp, const char *fmt, ...), fmt, __isoc99_vfscanf, (fp, fmt, ap), fp)

LOCKED(wint_t, fgetwc, (FILE * fp), (fp), fp)
LOCKED(wint_t, getwc, (FILE * fp), (fp), fp)
LOCKED(wint_t, getwchar, (void), (), stdin)
LOCKED(wint_t, ungetwc, (wint_t c, FILE *fp), (c, fp), fp)
LOCKED(wchar_t *, fgetws, (wchar_t * buf, int n, FILE *fp), (buf, n, fp), fp)
LOCKED(wchar_t *, __fgetws_chk, (wchar_t * buf, size_t size, int n, FILE *fp), (buf, size, n, fp), fp)
LOCKED(wint_t, fputwc, (wchar_t c, FILE *fp), (c, fp), fp)
LOCKED(wint_t, putwc, (wchar_t c, FILE *fp), (c, fp), fp)
LOCKED(wint_t, putwchar, (wchar_t c), (c), stdout)
LOCKED(int, fputws, (const wchar_t *s, FILE *fp), (s, fp), fp)

LOCKED(int, vwprintf, (const wchar_t *fmt, va_list ap), (fmt, ap), stdout)
LOCKED(int, vfwprintf, (FILE * fp, const wchar_t *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED(int, __vwprintf_chk, (int flag, const wchar_t *fmt, va_list ap), (flag, fmt, ap), stdout)
LOCKED(int, __vfwprintf_chk, (FILE * fp, int flag, const wchar_t *fmt, va_list ap), (fp, flag, fmt, ap), fp)
LOCKED_V(wprintf, (const wchar_t *fmt, ...), fmt, vwprintf, (fmt, ap), stdout)
LOCKED_V(fwprintf, (FILE * fp, const wchar_t *fmt, ...), fmt, vfwprintf, (fp, fmt, ap), fp)
LOCKED_V(__wprintf_chk, (int flag, const wchar_t *fmt, ...), fmt, __vwprintf_chk, (flag, fmt, ap), stdout)
LOCKED_V(__fwprintf_chk, (FILE * fp, int flag, const wchar_t *fmt, ...), fmt, __vfwprintf_chk, (fp, flag, fmt, ap), fp)

LOCKED(int, vwscanf, (const wchar_t *fmt, va_list ap), (fmt, ap), stdin)
LOCKED(int, vfwscanf, (FILE * fp, const wchar_t *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED(int, __isoc99_vwscanf, (const wchar_t *fmt, va_list ap), (fmt, ap), stdin)
LOCKED(int, __isoc99_vfwscanf, (FILE * fp, const wchar_t *fmt, va_list ap), (fp, fmt, ap), fp)
LOCKED_V(wscanf, (const wchar_t *fmt, ...), fmt, vwscanf, (fmt, ap), stdin)
LOCKED_V(fwscanf, (FILE * fp, const wchar_t *fmt, ...), fmt, vfwscanf, (fp, fmt, ap), fp)
LOCKED_V(__isoc99_wscanf, (const wchar_t *fmt, ...), fmt, __isoc99_vwscanf, (fmt, ap), stdin)
LOCKED_V(__isoc99_fwscanf, (FILE * fp, const wchar_t *fmt, ...), fmt, __isoc99_vfwscanf, (fp, fmt, ap), fp)

/* --- messages on stderr --- */

LOCKED(void, perror, (const char *s), (s), stderr)
LOCKED(void, psignal, (int sig, const char *s), (sig, s), stderr)
LOCKED(void, psiginfo, (const siginfo_t *info, const char *s), (info, s), stderr)
LOCKED(void, vwarn, (const char *fmt, va_list ap), (fmt, ap), stderr)
LOCKED(void, vwarnx, (const char *fmt, va_list ap), (fmt, ap), stderr)

void hook_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook_vwarn(fmt, ap);
	va_end(ap);
}

void hook_warnx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook_vwarnx(fmt, ap);
	va_end(ap);
}

/* exit runs the program's code, without the lock. */
void hook_verr(int status, const char *fmt, va_list ap)
{
	hook_vwarn(fmt, ap);
	PASS(exit)(status);
}

void hook_verrx(int status, const char *fmt, va_list ap)
{
	hook_vwarnx(fmt, ap);
	PASS(exit)(status);
}

void hook_err(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook_verr(status, fmt, ap);
}

void hook_errx(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook_verrx(status, fmt, ap);
}

/* --- the system log: a lock of libc's around connect and send --- */

#define LOGS(name, params, args)               \
	void hook_##name params                \
	{                                      \
		if (!on_g()) {                 \
			PASS(name) args;       \
			return;                \
		}                              \
		stress_point();                \
		gmp_entersyscall();            \
		real.name args;                \
		gmp_exitsyscall();             \
	}

LOGS(openlog, (const char *ident, int option, int facility), (ident, option, facility))
LOGS(closelog, (void), ())
LOGS(vsyslog, (int priority, const char *fmt, va_list ap), (priority, fmt, ap))
LOGS(__vsyslog_chk, (int priority, int flag, const char *fmt, va_list ap), (priority, flag, fmt, ap))

void hook_syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook_vsyslog(priority, fmt, ap);
	va_end(ap);
}

void hook___syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hook___vsyslog_chk(priority, flag, fmt, ap);
	va_end(ap);
}
