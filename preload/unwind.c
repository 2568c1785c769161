// SPDX-License-Identifier: MIT
/*
 * Clean-up code of ours that must run when an exception or a forced unwind passes (once.c) needs two functions of
 * libgcc_s. Linking it would put its unversioned symbols into every process; so they are forwarded: when either is
 * called, somebody is unwinding, and libgcc_s is loaded. glibc does the same for its own clean-ups.
 */
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "core/log.h"
#include "preload/hooks.h"

/* unwind.h makes all it declares visible; seen from outside these two would stand before libgcc_s's own. */
__asm__(".hidden _Unwind_Resume\n.hidden __gcc_personality_v0");
_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions, _Unwind_Exception_Class cls,
					 struct _Unwind_Exception *exc, struct _Unwind_Context *ctx);

static void *libgcc(const char *name)
{
	/* RTLD_NOLOAD: only what is there; this runs on a G, in no critical section */
	void *h = real.dlopen("libgcc_s.so.1", RTLD_LAZY | RTLD_NOLOAD), *fn = h != NULL ? dlsym(h, name) : NULL;

	if (fn == NULL)
		gmp_throw("unwinding without libgcc_s");
	return fn;
}

_Unwind_Reason_Code __gcc_personality_v0(int version, _Unwind_Action actions, _Unwind_Exception_Class cls,
					 struct _Unwind_Exception *exc, struct _Unwind_Context *ctx)
{
	static __typeof__(__gcc_personality_v0) *fn;

	if (fn == NULL)
		fn = (__typeof__(fn))libgcc("__gcc_personality_v0");
	return fn(version, actions, cls, exc, ctx);
}

void _Unwind_Resume(struct _Unwind_Exception *exc)
{
	static __typeof__(_Unwind_Resume) *fn;

	if (fn == NULL)
		fn = (__typeof__(fn))libgcc("_Unwind_Resume");
	fn(exc);
	abort();
}
