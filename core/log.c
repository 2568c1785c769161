// SPDX-License-Identifier: MIT
#include "core/log.h"

#include <signal.h>

#include "core/gmp.h"

static size_t put_number(char *out, uint64_t v, unsigned base)
{
	char digits[20];
	size_t n = 0, len;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) != 0);
	for (len = 0; n > 0; len++)
		out[len] = digits[--n];
	return len;
}

size_t gmp_vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
	size_t n = 0;

	for (; *fmt != '\0' && n + 24 < size; fmt++) {
		if (*fmt != '%') {
			buf[n++] = *fmt;
			continue;
		}
		while (*++fmt == 'l' || *fmt == 'z')
			;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s != '\0' && n + 24 < size; s++)
				buf[n++] = *s;
			break;
		case 'd': {
			int64_t v = fmt[-1] == 'l' ? va_arg(ap, int64_t) : va_arg(ap, int);
			if (v < 0)
				buf[n++] = '-';
			n += put_number(buf + n, v < 0 ? -(uint64_t)v : (uint64_t)v, 10);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t v = fmt[-1] == 'l' || fmt[-1] == 'z' ? va_arg(ap, uint64_t)
								      : va_arg(ap, unsigned);
			n += put_number(buf + n, v, *fmt == 'x' ? 16 : 10);
			break;
		}
		default:
			buf[n++] = *fmt;
		}
	}
	return n;
}

size_t gmp_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = gmp_vformat(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

void gmp_log(const char *fmt, ...)
{
	char buf[512] = "gmpshim: ";
	size_t n = 9;
	va_list ap;

	va_start(ap, fmt);
	n += gmp_vformat(buf + n, sizeof(buf) - n - 1, fmt, ap);
	va_end(ap);
	buf[n++] = '\n';
	sys3(__NR_write, 2, buf, n);
}

void gmp_out_flush(struct gmp_out *o)
{
	/* A short write goes on; any error ends the report: there is nobody to tell. */
	for (uint32_t at = 0; at < o->n;) {
		long rc = sys3(__NR_write, o->fd, o->buf + at, o->n - at);

		if (rc == -4 /* EINTR */)
			continue;
		if (rc <= 0)
			break;
		at += (uint32_t)rc;
	}
	o->n = 0;
}

void gmp_outf(struct gmp_out *o, const char *fmt, ...)
{
	va_list ap;

	if (o->n > sizeof(o->buf) - 1024)
		gmp_out_flush(o);
	va_start(ap, fmt);
	o->n += (uint32_t)gmp_vformat(o->buf + o->n, sizeof(o->buf) - o->n, fmt, ap);
	va_end(ap);
}

void gmp_throw(const char *why)
{
	gmp_sigset none = 0;
	/* the kernel's struct sigaction: default handler, nothing else */
	uint64_t dfl[4] = {0};

	gmp_log("fatal error: %s", why);
	sys4(__NR_rt_sigaction, SIGABRT, dfl, NULL, sizeof(gmp_sigset));
	sys_sigmask(SIG_SETMASK, &none, NULL);
	sys3(__NR_tgkill, sys_getpid(), sys_gettid(), SIGABRT);
	for (;;)
		sys1(__NR_exit_group, 134);
}
