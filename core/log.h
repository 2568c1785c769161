// SPDX-License-Identifier: MIT
/*
 * Messages to stderr without stdio or malloc, each prefixed "gmpshim: " and written with one write(2).
 * The format knows %s, %d, %u, %x (64-bit each) and %%.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

void gmp_log(const char *fmt, ...) __attribute__((format(printf, 1, 2), visibility("hidden")));
size_t gmp_vformat(char *buf, size_t size, const char *fmt, va_list ap);
/* How much is in buf then, without a 0 at the end; `size` must be 24 more than that. */
size_t gmp_format(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Reports of many lines: collected, and written in large pieces. %-formats as gmp_log's. */
struct gmp_out {
	int fd;
	uint32_t n;
	char buf[4096];
};

void gmp_outf(struct gmp_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3), visibility("hidden")));
void gmp_out_flush(struct gmp_out *o);

/* A broken invariant of the runtime itself: says so and aborts. */
void gmp_throw(const char *why) __attribute__((noreturn));
