/* SPDX-License-Identifier: MIT */
/* Included before every source: what glibc's build gives its tests by way of its internal headers. */
#pragma once
#include <errno.h>
#include <features.h>
#include <limits.h>

#define _ISOMAC 1
#define __TIMESIZE 64
#define __set_errno(e) (errno = (e))
#define attribute_hidden __attribute__((visibility("hidden")))
#define attribute_optimize_none __attribute__((noinline))
#define attribute_noclone __attribute__((noinline, noclone))
#define inhibit_loop_to_libcall
#define libc_hidden_proto(name)
#define libc_hidden_def(name)
