// SPDX-License-Identifier: MIT
/*
 * The set*id family, for all threads of the process (credentials(7)), by core's own broadcast: glibc's signals every
 * thread on its list, and its handler would wait for ever on the TCB of a G. What glibc does in one library call
 * with several threads' help is one raw system call repeated by each.
 */
#include <grp.h>

#include "preload/preload.h"

static int all_threads(long nr, long a, long b, long c)
{
	int rc = gmp_cred_broadcast(nr, a, b, c);

	if (rc == -ENOTRECOVERABLE)
		abort(); /* as libc: a process whose threads have different ids is not safe to go on */
	return rc < 0 ? fail(-rc) : 0;
}

#define CRED1(name, type)                                                       \
	int hook_##name(type a)                                                 \
	{                                                                       \
		return live() ? all_threads(SYS_##name, (long)a, 0, 0) : PASS(name)(a); \
	}
#define CRED2(name, type)                                                           \
	int hook_##name(type a, type b)                                             \
	{                                                                           \
		return live() ? all_threads(SYS_##name, (long)a, (long)b, 0) : PASS(name)(a, b); \
	}
#define CRED3(name, type)                                                                         \
	int hook_##name(type a, type b, type c)                                                   \
	{                                                                                         \
		return live() ? all_threads(SYS_##name, (long)a, (long)b, (long)c) : PASS(name)(a, b, c); \
	}

CRED1(setuid, uid_t)
CRED1(setgid, gid_t)
CRED2(setreuid, uid_t)
CRED2(setregid, gid_t)
CRED3(setresuid, uid_t)
CRED3(setresgid, gid_t)

int hook_seteuid(uid_t euid)
{
	if (!live())
		return PASS(seteuid)(euid);
	return euid == (uid_t)-1 ? fail(EINVAL) : all_threads(SYS_setresuid, -1, (long)euid, -1);
}

int hook_setegid(gid_t egid)
{
	if (!live())
		return PASS(setegid)(egid);
	return egid == (gid_t)-1 ? fail(EINVAL) : all_threads(SYS_setresgid, -1, (long)egid, -1);
}

int hook_setgroups(size_t n, const gid_t *list)
{
	return live() ? all_threads(SYS_setgroups, (long)n, (long)list, 0) : PASS(setgroups)(n, list);
}

/* libc's calls its own setgroups inside. */
int hook_initgroups(const char *user, gid_t group)
{
	gid_t small[64], *list = small;
	int n = 64, rc;

	if (!live())
		return PASS(initgroups)(user, group);
	while (PASS(getgrouplist)(user, group, list, &n) < 0) {
		gid_t *more = realloc(list == small ? NULL : list, (size_t)n * sizeof(*list));

		if (more == NULL) {
			if (list != small)
				free(list);
			return fail(ENOMEM);
		}
		list = more;
	}
	rc = hook_setgroups((size_t)n, list);
	if (list != small)
		free(list);
	return rc;
}
