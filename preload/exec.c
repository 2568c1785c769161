// SPDX-License-Identifier: MIT
/*
 * exec: a pending SIG_NOTIFY of the calling kernel thread would survive into the new image, where no handler waits for
 * it. So nobody sends any from gmp_quiet_begin on, and one that is on its way is waited for. The rest is the kernel's:
 * the mask of the M is the thread's, and the other kernel threads end.
 */
#include <stdarg.h>

#include "preload/preload.h"

#define FEW 64

static int quiet_exec(int (*fn)(const char *, char *const[], char *const[]), const char *path, char *const argv[],
		      char *const envp[])
{
	int rc;

	if (!on_g())
		return fn(path, argv, envp);
	gmp_quiet_begin();
	rc = fn(path, argv, envp);
	gmp_quiet_end();
	return rc;
}

int hook_execve(const char *path, char *const argv[], char *const envp[])
{
	return quiet_exec(PASS(execve), path, argv, envp);
}

int hook_execvpe(const char *file, char *const argv[], char *const envp[])
{
	return quiet_exec(PASS(execvpe), file, argv, envp);
}

int hook_execv(const char *path, char *const argv[])
{
	return quiet_exec(PASS(execve), path, argv, environ);
}

int hook_execvp(const char *file, char *const argv[])
{
	return quiet_exec(PASS(execvpe), file, argv, environ);
}

int hook_fexecve(int fd, char *const argv[], char *const envp[])
{
	int rc;

	if (!on_g())
		return PASS(fexecve)(fd, argv, envp);
	gmp_quiet_begin();
	rc = real.fexecve(fd, argv, envp);
	gmp_quiet_end();
	return rc;
}

/* The argument list as an array; with_env: the environment follows its NULL. */
static int exec_list(int (*fn)(const char *, char *const[], char *const[]), const char *path, const char *first,
		     va_list ap, bool with_env)
{
	char *few[FEW], **argv = few, *const *envp = environ;
	size_t n = 1, size = 0;
	va_list again;
	int rc;

	va_copy(again, ap);
	if (first != NULL)
		while (va_arg(again, char *) != NULL)
			n++;
	va_end(again);
	if (n + 1 > FEW) {
		size = (n + 1) * sizeof(*argv);
		argv = gmp_mmap(size);
		if (argv == NULL)
			return fail(ENOMEM);
	}
	argv[0] = (char *)(uintptr_t)first;
	for (size_t i = 1; i <= n && first != NULL; i++)
		argv[i] = va_arg(ap, char *);
	if (with_env)
		envp = va_arg(ap, char *const *);
	rc = quiet_exec(fn, path, argv, envp);
	if (size != 0)
		gmp_munmap(argv, size);
	return rc;
}

int hook_execl(const char *path, const char *arg, ...)
{
	va_list ap;
	int rc;

	va_start(ap, arg);
	rc = exec_list(PASS(execve), path, arg, ap, false);
	va_end(ap);
	return rc;
}

int hook_execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	int rc;

	va_start(ap, arg);
	rc = exec_list(PASS(execvpe), file, arg, ap, false);
	va_end(ap);
	return rc;
}

int hook_execle(const char *path, const char *arg, ...)
{
	va_list ap;
	int rc;

	va_start(ap, arg);
	rc = exec_list(PASS(execve), path, arg, ap, true);
	va_end(ap);
	return rc;
}
