// SPDX-License-Identifier: MIT
/*
 * Messages to stderr without stdio or malloc, each prefixed "gmpshim: " and written with one write(2).
 * The format knows %s, %d, %u, %x (64-bit each) and %%.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

void gmp_log(const char *fmt, ...) __attribute__((format(printf, 1, 2), visibility("hidden")));
size_t gmp_vformat(char *buf, size_t size, const char *fmt, va_list ap);

/* A broken invariant of the runtime itself: says so and aborts. */
void gmp_throw(const char *why) __attribute__((noreturn));
