// SPDX-License-Identifier: MIT
/*
 * Calls that wait in the kernel, or deep inside libc for a name server: an M waits, its P moves on. One line each.
 */
#include "preload/io.h"

/* Those that do not fail with -1 and errno, and those that must not be called twice. */
#define HANDOFF_VALUE(type, name, params, args)                                                                        \
	type hook_##name params                                                                                        \
	{                                                                                                              \
		type ret;                                                                                              \
                                                                                                                       \
		if (!on_g())                                                                                           \
			return PASS(name) args;                                                                        \
		stress_point();                                                                                        \
		HANDOFF_ONCE(ret, real.name args);                                                                     \
		return ret;                                                                                            \
	}

#define HANDOFF_VOID(name, params, args)                                                                               \
	void hook_##name params                                                                                        \
	{                                                                                                              \
		if (!on_g()) {                                                                                         \
			PASS(name) args;                                                                               \
			return;                                                                                        \
		}                                                                                                      \
		stress_point();                                                                                        \
		gmp_entersyscall();                                                                                    \
		real.name args;                                                                                        \
		gmp_exitsyscall();                                                                                     \
	}

/* An error number, EINTR among them, is the result. */
#define HANDOFF_ERRNO(name, params, args)                                                                              \
	int hook_##name params                                                                                         \
	{                                                                                                              \
		struct intr_mark mark;                                                                                 \
		int ret;                                                                                               \
                                                                                                                       \
		if (!on_g())                                                                                           \
			return PASS(name) args;                                                                        \
		stress_point();                                                                                        \
		mark = intr_begin();                                                                                   \
		do                                                                                                     \
			HANDOFF_ONCE(ret, real.name args);                                                             \
		while (ret == EINTR && !intr_fails(mark, false));                                                      \
		return ret;                                                                                            \
	}

/* With a relative time limit: a call that goes on after a signal for another G gets what is left of it. */
#define HANDOFF_TIMED(name, params, before, timeout)                                                                   \
	int hook_##name params                                                                                         \
	{                                                                                                              \
		const struct timespec *limit = (timeout);                                                              \
		int64_t since;                                                                                         \
		struct intr_mark mark;                                                                                 \
		struct timespec rest;                                                                                  \
		int ret;                                                                                               \
                                                                                                                       \
		if (!on_g())                                                                                           \
			return PASS(name)(before, limit);                                                              \
		stress_point();                                                                                        \
		mark = intr_begin();                                                                                   \
		since = gmp_nanotime();                                                                                \
		HANDOFF_ONCE(ret, real.name(before, limit));                                                           \
		while (ret == -1 && errno == EINTR && !intr_fails(mark, false)) {                                      \
			limit = gmp_time_rest((timeout), since, &rest);                                                \
			HANDOFF_ONCE(ret, real.name(before, limit));                                                   \
		}                                                                                                      \
		return ret;                                                                                            \
	}

#define ARGS(...) __VA_ARGS__

/* --- files --- */
HANDOFF(ssize_t, pread, (int fd, void *buf, size_t n, off_t off), (fd, buf, n, off))
HANDOFF(ssize_t, pread64, (int fd, void *buf, size_t n, off64_t off), (fd, buf, n, off))
HANDOFF(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t off), (fd, buf, n, off))
HANDOFF(ssize_t, pwrite64, (int fd, const void *buf, size_t n, off64_t off), (fd, buf, n, off))
HANDOFF(ssize_t, preadv, (int fd, const struct iovec *iov, int n, off_t off), (fd, iov, n, off))
HANDOFF(ssize_t, preadv64, (int fd, const struct iovec *iov, int n, off64_t off), (fd, iov, n, off))
HANDOFF(ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t off), (fd, iov, n, off))
HANDOFF(ssize_t, pwritev64, (int fd, const struct iovec *iov, int n, off64_t off), (fd, iov, n, off))

/* At the current position, and without a wish that changes how it waits, these are readv and writev (preadv2(2)). */
#define VECTOR2(name, plain, off_type)                                                                                 \
	ssize_t hook_##name(int fd, const struct iovec *iov, int n, off_type off, int flags)                           \
	{                                                                                                              \
		ssize_t ret;                                                                                           \
                                                                                                                       \
		if (!on_g())                                                                                           \
			return PASS(name)(fd, iov, n, off, flags);                                                     \
		if (off == -1 && (flags & ~RWF_HIPRI) == 0)                                                            \
			return hook_##plain(fd, iov, n);                                                               \
		stress_point();                                                                                        \
		HANDOFF_CALL(ret, real.name(fd, iov, n, off, flags));                                                  \
		return ret;                                                                                            \
	}

VECTOR2(preadv2, readv, off_t)
VECTOR2(preadv64v2, readv, off64_t)
VECTOR2(pwritev2, writev, off_t)
VECTOR2(pwritev64v2, writev, off64_t)

HANDOFF(int, fsync, (int fd), (fd))
HANDOFF(int, fdatasync, (int fd), (fd))
HANDOFF(int, sync_file_range, (int fd, off64_t off, off64_t n, unsigned flags), (fd, off, n, flags))
HANDOFF(int, syncfs, (int fd), (fd))
HANDOFF_VOID(sync, (void), ())
HANDOFF(int, flock, (int fd, int op), (fd, op))
HANDOFF(int, lockf, (int fd, int op, off_t len), (fd, op, len))
HANDOFF(int, lockf64, (int fd, int op, off64_t len), (fd, op, len))
HANDOFF(int, fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
HANDOFF(int, fallocate64, (int fd, int mode, off64_t off, off64_t len), (fd, mode, off, len))
HANDOFF_ERRNO(posix_fallocate, (int fd, off_t off, off_t len), (fd, off, len))
HANDOFF_ERRNO(posix_fallocate64, (int fd, off64_t off, off64_t len), (fd, off, len))
HANDOFF(int, ftruncate, (int fd, off_t len), (fd, len))
HANDOFF(int, ftruncate64, (int fd, off64_t len), (fd, len))
HANDOFF(int, truncate, (const char *path, off_t len), (path, len))
HANDOFF(int, truncate64, (const char *path, off64_t len), (path, len))
HANDOFF(ssize_t, copy_file_range, (int in, off64_t *offin, int out, off64_t *offout, size_t n, unsigned flags),
	(in, offin, out, offout, n, flags))
HANDOFF(int, tcdrain, (int fd), (fd))
HANDOFF(int, tcsetattr, (int fd, int when, const struct termios *t), (fd, when, t))
HANDOFF(int, msync, (void *addr, size_t n, int flags), (addr, n, flags))
HANDOFF_VALUE(char *, getpass, (const char *prompt), (prompt))
HANDOFF_VALUE(DIR *, opendir, (const char *path), (path))

/* --- System V queues and semaphores, aio --- */
HANDOFF(int, semop, (int id, struct sembuf *ops, size_t n), (id, ops, n))
HANDOFF_TIMED(semtimedop, (int id, struct sembuf *ops, size_t n, const struct timespec *timeout), ARGS(id, ops, n),
	      timeout)
HANDOFF(int, msgsnd, (int id, const void *msg, size_t n, int flags), (id, msg, n, flags))
HANDOFF(ssize_t, msgrcv, (int id, void *msg, size_t n, long type, int flags), (id, msg, n, type, flags))
HANDOFF_TIMED(aio_suspend, (const struct aiocb *const list[], int n, const struct timespec *timeout), ARGS(list, n),
	      timeout)
HANDOFF_TIMED(aio_suspend64, (const struct aiocb64 *const list[], int n, const struct timespec *timeout),
	      ARGS(list, n), timeout)

/*
 * libc's own wait must not be interrupted for nothing: it cannot be gone on with, and leaves a list behind on its
 * stack. So the requests are made, and waited for one after the other.
 */
#define LISTIO(name, type, error, suspend)                                                                             \
	int hook_##name(int mode, type *const list[], int n, struct sigevent *sev)                                     \
	{                                                                                                              \
		struct intr_mark mark;                                                                                 \
		int ret, err;                                                                                          \
                                                                                                                       \
		if (!on_g())                                                                                           \
			return PASS(name)(mode, list, n, sev);                                                         \
		stress_point();                                                                                        \
		mark = intr_begin();                                                                                   \
		HANDOFF_ONCE(ret, real.name(mode == LIO_WAIT ? LIO_NOWAIT : mode, list, n,                             \
					    mode == LIO_WAIT ? NULL : sev));                                           \
		if (mode != LIO_WAIT)                                                                                  \
			return ret;                                                                                    \
		err = ret == 0 ? 0 : EIO; /* one that could not be made */                                             \
		for (int i = 0; i < n; i++) {                                                                          \
			const type *one[1] = {list[i]};                                                                \
                                                                                                                       \
			if (one[0] == NULL || one[0]->aio_lio_opcode == LIO_NOP)                                       \
				continue;                                                                              \
			while (error(one[0]) == EINPROGRESS) {                                                         \
				HANDOFF_ONCE(ret, real.suspend(one, 1, NULL));                                         \
				if (ret == -1 && errno == EINTR && intr_fails(mark, false))                            \
					return -1;                                                                     \
			}                                                                                              \
			if (error(one[0]) != 0)                                                                        \
				err = EIO;                                                                             \
		}                                                                                                      \
		return err == 0 ? 0 : fail(err);                                                                       \
	}

LISTIO(lio_listio, struct aiocb, aio_error, aio_suspend)
LISTIO(lio_listio64, struct aiocb64, aio_error64, aio_suspend64)

int hook_gai_suspend(const struct gaicb *const list[], int n, const struct timespec *timeout)
{
	const struct timespec *limit = timeout;
	struct intr_mark mark;
	struct timespec rest;
	int64_t since;
	int ret;

	if (!on_g())
		return PASS(gai_suspend)(list, n, timeout);
	stress_point();
	mark = intr_begin();
	since = gmp_nanotime();
	HANDOFF_ONCE(ret, real.gai_suspend(list, n, limit));
	while (ret == EAI_INTR && !intr_fails(mark, false)) {
		limit = gmp_time_rest(timeout, since, &rest);
		HANDOFF_ONCE(ret, real.gai_suspend(list, n, limit));
	}
	return ret;
}

/* --- children; system forks inside libc --- */
HANDOFF(pid_t, wait, (int *status), (status))
HANDOFF(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
HANDOFF(pid_t, wait3, (int *status, int options, struct rusage *usage), (status, options, usage))
HANDOFF(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage))
HANDOFF(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options))
HANDOFF_VALUE(int, system, (const char *command), (command))

/* --- names: files, sockets, daemons behind NSS --- */
HANDOFF_VALUE(int, getaddrinfo,
	      (const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list),
	      (name, service, hints, ret_list))
HANDOFF_VALUE(int, getnameinfo,
	      (const struct sockaddr *addr, socklen_t len, char *host, socklen_t hostlen, char *serv, socklen_t servlen,
	       int flags),
	      (addr, len, host, hostlen, serv, servlen, flags))
HANDOFF_VALUE(struct hostent *, gethostbyname, (const char *name), (name))
HANDOFF_VALUE(struct hostent *, gethostbyname2, (const char *name, int af), (name, af))
HANDOFF_VALUE(struct hostent *, gethostbyaddr, (const void *addr, socklen_t len, int af), (addr, len, af))
HANDOFF_VALUE(int, gethostbyname_r,
	      (const char *name, struct hostent *h, char *buf, size_t n, struct hostent **ret_h, int *ret_err),
	      (name, h, buf, n, ret_h, ret_err))
HANDOFF_VALUE(int, gethostbyname2_r,
	      (const char *name, int af, struct hostent *h, char *buf, size_t n, struct hostent **ret_h, int *ret_err),
	      (name, af, h, buf, n, ret_h, ret_err))
HANDOFF_VALUE(int, gethostbyaddr_r,
	      (const void *addr, socklen_t len, int af, struct hostent *h, char *buf, size_t n, struct hostent **ret_h,
	       int *ret_err),
	      (addr, len, af, h, buf, n, ret_h, ret_err))
HANDOFF_VALUE(struct servent *, getservbyname, (const char *name, const char *proto), (name, proto))
HANDOFF_VALUE(struct servent *, getservbyport, (int port, const char *proto), (port, proto))
HANDOFF_VALUE(int, getservbyname_r,
	      (const char *name, const char *proto, struct servent *s, char *buf, size_t n, struct servent **ret_s),
	      (name, proto, s, buf, n, ret_s))
HANDOFF_VALUE(int, getservbyport_r,
	      (int port, const char *proto, struct servent *s, char *buf, size_t n, struct servent **ret_s),
	      (port, proto, s, buf, n, ret_s))
HANDOFF_VALUE(struct passwd *, getpwnam, (const char *name), (name))
HANDOFF_VALUE(struct passwd *, getpwuid, (uid_t uid), (uid))
HANDOFF_VALUE(struct passwd *, getpwent, (void), ())
HANDOFF_VALUE(int, getpwnam_r, (const char *name, struct passwd *pw, char *buf, size_t n, struct passwd **ret_pw),
	      (name, pw, buf, n, ret_pw))
HANDOFF_VALUE(int, getpwuid_r, (uid_t uid, struct passwd *pw, char *buf, size_t n, struct passwd **ret_pw),
	      (uid, pw, buf, n, ret_pw))
HANDOFF_VALUE(struct group *, getgrnam, (const char *name), (name))
HANDOFF_VALUE(struct group *, getgrgid, (gid_t gid), (gid))
HANDOFF_VALUE(struct group *, getgrent, (void), ())
HANDOFF_VALUE(int, getgrnam_r, (const char *name, struct group *gr, char *buf, size_t n, struct group **ret_gr),
	      (name, gr, buf, n, ret_gr))
HANDOFF_VALUE(int, getgrgid_r, (gid_t gid, struct group *gr, char *buf, size_t n, struct group **ret_gr),
	      (gid, gr, buf, n, ret_gr))
HANDOFF_VALUE(int, getgrouplist, (const char *user, gid_t group, gid_t *groups, int *n), (user, group, groups, n))
HANDOFF_VALUE(int, getpwent_r, (struct passwd *pw, char *buf, size_t n, struct passwd **ret_pw), (pw, buf, n, ret_pw))
HANDOFF_VALUE(int, getgrent_r, (struct group *gr, char *buf, size_t n, struct group **ret_gr), (gr, buf, n, ret_gr))
HANDOFF_VALUE(struct servent *, getservent, (void), ())
HANDOFF_VALUE(int, getservent_r, (struct servent *s, char *buf, size_t n, struct servent **ret_s), (s, buf, n, ret_s))
HANDOFF_VALUE(struct protoent *, getprotobyname, (const char *name), (name))
HANDOFF_VALUE(struct protoent *, getprotobynumber, (int number), (number))
HANDOFF_VALUE(struct protoent *, getprotoent, (void), ())
HANDOFF_VALUE(int, getprotobyname_r,
	      (const char *name, struct protoent *p, char *buf, size_t n, struct protoent **ret_p),
	      (name, p, buf, n, ret_p))
HANDOFF_VALUE(int, getprotobynumber_r, (int number, struct protoent *p, char *buf, size_t n, struct protoent **ret_p),
	      (number, p, buf, n, ret_p))
HANDOFF_VALUE(int, getprotoent_r, (struct protoent *p, char *buf, size_t n, struct protoent **ret_p),
	      (p, buf, n, ret_p))
HANDOFF_VALUE(char *, getlogin, (void), ())
HANDOFF_VALUE(int, getlogin_r, (char *name, size_t n), (name, n))
HANDOFF_VALUE(int, res_query, (const char *name, int class, int type, unsigned char *answer, int n),
	      (name, class, type, answer, n))
HANDOFF_VALUE(int, res_search, (const char *name, int class, int type, unsigned char *answer, int n),
	      (name, class, type, answer, n))
HANDOFF_VALUE(int, res_nquery,
	      (struct __res_state * state, const char *name, int class, int type, unsigned char *answer, int n),
	      (state, name, class, type, answer, n))
HANDOFF_VALUE(int, res_nsearch,
	      (struct __res_state * state, const char *name, int class, int type, unsigned char *answer, int n),
	      (state, name, class, type, answer, n))
