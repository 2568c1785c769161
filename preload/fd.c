// SPDX-License-Identifier: MIT
/*
 * Descriptors come and go: what the netpoller knows of a number must go with the file. Closing hooks tell it before
 * the real call, creating ones after it; both are needed, as another G may touch the number in between, and libc
 * closes some by itself. All of them work before there are threads, when there is nothing to tell.
 *
 * The runtime's own descriptors (an epoll set, an eventfd, a timerfd) do not exist for the program: closing one fails
 * with EBADF, dup2 onto one makes it move.
 * dup2 onto one makes it move.
 * A vfork child shares our memory but not our descriptors: there inshim is held (process.c) and nothing is told.
 */
#include <stdarg.h>
#include <sys/sysmacros.h>

#include "preload/io.h"

_Atomic(uint32_t) gmp_fl_gen = 1;

/* --- what is known of a number --- */

static uint16_t socket_kind(int domain, int type, int protocol)
{
	switch (type & 0xf) {
	case SOCK_SEQPACKET:
		return PDK_SOCKET | KIND_SEQPACKET;
	case SOCK_STREAM:
		if ((domain == AF_INET || domain == AF_INET6) && (protocol == 0 || protocol == IPPROTO_TCP))
			return PDK_SOCKET | KIND_STREAM;
	}
	return PDK_SOCKET;
}

static int sockopt(int fd, int opt)
{
	socklen_t len = sizeof(int);
	int v;

	return sys5(__NR_getsockopt, fd, SOL_SOCKET, opt, &v, &len) == 0 ? v : -1;
}

/* A socket that was not made here: what others have set on it. */
static void socket_learn(int fd)
{
	struct timeval rcv = {0}, snd = {0};
	socklen_t len = sizeof(rcv);
	struct linger linger = {0};

	sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &rcv, &len);
	sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &snd, &len);
	if (rcv.tv_sec != 0 || rcv.tv_usec != 0 || snd.tv_sec != 0 || snd.tv_usec != 0)
		atomic_store_explicit(&gmp_socket_timeouts, true, memory_order_relaxed); /* the caller reads it next */
	len = sizeof(linger);
	if (sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff)
		atomic_store_explicit(&gmp_socket_lingers, true, memory_order_relaxed);
	if (sockopt(fd, SO_RCVLOWAT) > 1)
		gmp_socket_lowat_used();
	if (sockopt(fd, SO_OOBINLINE) > 0)
		atomic_store_explicit(&gmp_short_unsure, true, memory_order_relaxed); /* see gmp_io_known_empty */
}

uint16_t gmp_fd_kind(int fd, struct poll_desc *pd)
{
	uint16_t kind = pd != NULL ? atomic_load_explicit(&pd->kind, memory_order_relaxed) : PDK_UNKNOWN;
	struct stat st;

	if (likely((kind & KIND_MASK) != PDK_UNKNOWN))
		return kind;
	if (sys2(__NR_fstat, fd, &st) < 0)
		return PDK_UNKNOWN;
	switch (st.st_mode & S_IFMT) {
	case S_IFSOCK:
		kind = socket_kind(sockopt(fd, SO_DOMAIN), sockopt(fd, SO_TYPE), sockopt(fd, SO_PROTOCOL));
		socket_learn(fd);
		break;
	case S_IFIFO: /* not KIND_STREAM: somebody else may have put it into packet mode */
		kind = PDK_PIPE;
		break;
	case 0: /* anon_inode */
		kind = PDK_OTHER;
		break;
	case S_IFCHR:
		/* The master of a pty always wants one byte and knows no job control: poll tells all. */
		kind = st.st_rdev == makedev(5, 2) ? PDK_OTHER | KIND_NO_READ | KIND_NO_WRITE : PDK_FILE;
		break;
	default:
		kind = PDK_FILE;
	}
	if (pd != NULL)
		atomic_store_explicit(&pd->kind, kind, memory_order_relaxed); /* same answer from everybody */
	return kind;
}

/*
 * O_NONBLOCK as the program set it. Asked for after a failed try only, and remembered until any F_SETFL or FIONBIO
 * of this process: descriptors that share a file share the flag. Another process that changes it is not seen.
 */
bool gmp_fd_nonblock(int fd, struct poll_desc *pd)
{
	/* acquire: pairs with the bump after the flag was set */
	uint32_t gen = atomic_load_explicit(&gmp_fl_gen, memory_order_acquire);
	long fl;

	/* acquire: pairs with the release below */
	if (pd != NULL && likely(atomic_load_explicit(&pd->nonblock_gen, memory_order_acquire) == gen))
		return atomic_load_explicit(&pd->nonblock, memory_order_relaxed);
	fl = sys2(__NR_fcntl, fd, F_GETFL);
	if (fl < 0)
		return false;
	if (pd != NULL) {
		atomic_store_explicit(&pd->nonblock, (fl & O_NONBLOCK) != 0, memory_order_relaxed);
		atomic_store_explicit(&pd->nonblock_gen, gen, memory_order_release);
	}
	return fl & O_NONBLOCK;
}

static void fl_changed(void)
{
	/* release: pairs with gmp_fd_nonblock. 0 stands for "not known" */
	if (atomic_fetch_add_explicit(&gmp_fl_gen, 1, memory_order_release) == UINT32_MAX)
		atomic_fetch_add_explicit(&gmp_fl_gen, 1, memory_order_release);
}

/* Some descriptor becomes O_DIRECT; a pipe, perhaps, which is then in packet mode. */
static void packets_used(void)
{
	atomic_store_explicit(&gmp_short_unsure, true, memory_order_relaxed); /* see gmp_io_known_empty */
}

void gmp_fd_forget(int fd)
{
	struct poll_desc *pd = gmp_pd(fd, false);

	/* relaxed: the program itself orders its uses of fd before its close, or it races with itself */
	if (pd == NULL || unlikely(gmp_tls.inshim != 0))
		return;
	if (pd->registered || atomic_load_explicit(&pd->kind, memory_order_relaxed) != PDK_UNKNOWN ||
	    atomic_load_explicit(&pd->nonblock_gen, memory_order_relaxed) != 0 ||
	    atomic_load_explicit(&pd->nwaiters, memory_order_relaxed) != 0)
		gmp_netpoll_close(fd);
}

int gmp_fd_made(int fd)
{
	if (fd >= 0 && likely(gmp_tls.inshim == 0))
		gmp_netpoll_fresh(fd);
	return fd;
}

int gmp_fd_made_as(int fd, uint16_t kind, bool nonblock)
{
	struct poll_desc *pd;

	if (fd < 0 || unlikely(gmp_tls.inshim != 0))
		return fd;
	gmp_netpoll_fresh(fd);
	if (!live() || (pd = gmp_pd(fd, true)) == NULL)
		return fd;
	/* relaxed: whoever uses fd has it from its creator */
	atomic_store_explicit(&pd->kind, kind, memory_order_relaxed);
	atomic_store_explicit(&pd->nonblock, nonblock, memory_order_relaxed);
	atomic_store_explicit(&pd->nonblock_gen, atomic_load_explicit(&gmp_fl_gen, memory_order_relaxed),
			      memory_order_release);
	return fd;
}

/* --- closing --- */

/*
 * Pipes, anonymous files, masters of ptys, and sockets without SO_LINGER. The P stays with such a call: where the
 * machine is crowded it may look long, and another kernel thread would be made for the P.
 */
bool gmp_fd_closes_at_once(int fd)
{
	struct poll_desc *pd = gmp_pd(fd, false);

	if (pd == NULL)
		return false;
	switch (atomic_load_explicit(&pd->kind, memory_order_relaxed) & KIND_MASK) {
	case PDK_PIPE:
	case PDK_OTHER:
		return true;
	case PDK_SOCKET:
		return !atomic_load_explicit(&gmp_socket_lingers, memory_order_relaxed); /* set before its close */
	}
	return false;
}

int hook_close(int fd)
{
	bool at_once;
	int ret;

	if (gmp_netpoll_ours(fd))
		return fail(EBADF);
	at_once = gmp_fd_closes_at_once(fd);
	gmp_fd_forget(fd);
	if (at_once || !on_g())
		return PASS(close)(fd);
	HANDOFF_ONCE(ret, real.close(fd)); /* SO_LINGER and network file systems block; never again after EINTR */
	return ret;
}

/*
 * Tell the netpoller of a range that is about to be closed. pollDescs come in chunks: where one is missing, so are
 * its neighbours up to the next multiple of 1024, at least.
 */
static void forget_range(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < 1u << 22; fd++) {
		if (gmp_pd((int)fd, false) == NULL)
			fd |= 1023;
		else
			gmp_fd_forget((int)fd);
	}
}

/* close_range(2) around our own descriptors. */
static int close_around(unsigned first, unsigned last, int flags)
{
	int ours[GMP_OWN_FDS], n = gmp_netpoll_own(ours), ret = 0;
	bool done = false;

	for (int i = 0; i < n && ret == 0; i++) {
		unsigned fd = (unsigned)ours[i];

		if (fd < first || fd > last)
			continue;
		if (fd > first)
			ret = PASS(close_range)(first, fd - 1, flags);
		done = fd == last;
		first = fd + 1;
	}
	return ret != 0 || done ? ret : PASS(close_range)(first, last, flags);
}

int hook_close_range(unsigned first, unsigned last, int flags)
{
	if (first > last || (flags & (int)CLOSE_RANGE_CLOEXEC))
		return PASS(close_range)(first, last, flags);
	forget_range(first, last);
	return close_around(first, last, flags);
}

void hook_closefrom(int low)
{
	int ours[GMP_OWN_FDS];

	if (low < 0)
		low = 0;
	forget_range((unsigned)low, UINT32_MAX);
	if (gmp_netpoll_own(ours) == 0) {
		PASS(closefrom)(low);
	} else if (close_around((unsigned)low, UINT32_MAX, 0) != 0) {
		long max = sysconf(_SC_OPEN_MAX);

		for (long fd = low; fd < max; fd++)
			if (!gmp_netpoll_ours((int)fd))
				sys1(__NR_close, fd);
	}
}

int hook_closedir(DIR *d)
{
	__asm__("" : "+r"(d)); /* the header promises that it is not NULL; libc says EINVAL all the same */
	if (d != NULL)
		gmp_fd_forget(PASS(dirfd)(d));
	return PASS(closedir)(d);
}

/* --- duplicates --- */

int hook_dup(int fd)
{
	return gmp_fd_made(PASS(dup)(fd));
}

int hook_dup2(int from, int to)
{
	if (gmp_netpoll_ours(from))
		return fail(EBADF);
	if (from == to)
		return PASS(dup2)(from, to);
	if (likely(gmp_tls.inshim == 0))
		gmp_netpoll_yield(to);
	gmp_fd_forget(to);
	return gmp_fd_made(PASS(dup2)(from, to));
}

int hook_dup3(int from, int to, int flags)
{
	if (gmp_netpoll_ours(from))
		return fail(EBADF);
	if (from == to)
		return PASS(dup3)(from, to, flags);
	if (likely(gmp_tls.inshim == 0))
		gmp_netpoll_yield(to);
	gmp_fd_forget(to);
	return gmp_fd_made(PASS(dup3)(from, to, flags));
}

/* --- creation --- */

#define CREATE(name, params, args)                  \
	int hook_##name params                      \
	{                                           \
		return gmp_fd_made(PASS(name) args); \
	}

#define CREATE_AS(name, params, args, kind, nonblock)                    \
	int hook_##name params                                           \
	{                                                                \
		return gmp_fd_made_as(PASS(name) args, (kind), (nonblock)); \
	}

CREATE_AS(socket, (int domain, int type, int protocol), (domain, type, protocol),
	  socket_kind(domain, type, protocol), (type & SOCK_NONBLOCK) != 0)
CREATE_AS(eventfd, (unsigned count, int flags), (count, flags), PDK_OTHER, (flags & EFD_NONBLOCK) != 0)
CREATE_AS(timerfd_create, (clockid_t clock, int flags), (clock, flags), PDK_OTHER, (flags & TFD_NONBLOCK) != 0)
CREATE_AS(inotify_init, (void), (), PDK_OTHER, false)
CREATE_AS(inotify_init1, (int flags), (flags), PDK_OTHER, (flags & IN_NONBLOCK) != 0)
CREATE(epoll_create, (int size), (size))
CREATE(epoll_create1, (int flags), (flags))

int hook_socketpair(int domain, int type, int protocol, int fds[2])
{
	int ret = PASS(socketpair)(domain, type, protocol, fds);

	for (int i = 0; i < 2 && ret == 0; i++)
		gmp_fd_made_as(fds[i], socket_kind(domain, type, protocol), (type & SOCK_NONBLOCK) != 0);
	return ret;
}

int hook_pipe(int fds[2])
{
	int ret = PASS(pipe)(fds);

	for (int i = 0; i < 2 && ret == 0; i++)
		gmp_fd_made_as(fds[i], PDK_PIPE | KIND_STREAM, false);
	return ret;
}

int hook_pipe2(int fds[2], int flags)
{
	int ret = PASS(pipe2)(fds, flags);

	for (int i = 0; i < 2 && ret == 0; i++)
		gmp_fd_made_as(fds[i], flags & O_DIRECT ? PDK_PIPE : PDK_PIPE | KIND_STREAM, (flags & O_NONBLOCK) != 0);
	return ret;
}

int hook_signalfd(int fd, const sigset_t *mask, int flags)
{
	int ret;

	gmp_signalfd_made(mask);
	ret = PASS(signalfd)(fd, mask, flags);
	return fd == -1 ? gmp_fd_made_as(ret, PDK_OTHER, (flags & SFD_NONBLOCK) != 0) : ret;
}

/* A FIFO waits for its other end, a network file system for its server. */
#define OPEN(name, params, args)                         \
	int hook_##name params                           \
	{                                                \
		int ret;                                 \
                                                         \
		if (!on_g())                             \
			return gmp_fd_made(PASS(name) args); \
		stress_point();                          \
		HANDOFF_CALL(ret, real.name args);       \
		return gmp_fd_made(ret);                 \
	}

/* The same for those with an optional mode. */
#define OPEN_MODE(name, params, ...)                                               \
	int hook_##name params                                                     \
	{                                                                          \
		mode_t mode = 0;                                                   \
		int ret;                                                           \
                                                                                   \
		if ((flags & O_CREAT) || (flags & __O_TMPFILE) == __O_TMPFILE) {   \
			va_list ap;                                                \
                                                                                   \
			va_start(ap, flags);                                       \
			mode = va_arg(ap, mode_t);                                 \
			va_end(ap);                                                \
		}                                                                  \
		if (!on_g())                                                       \
			return gmp_fd_made(PASS(name)(__VA_ARGS__, flags, mode));  \
		stress_point();                                                    \
		HANDOFF_CALL(ret, real.name(__VA_ARGS__, flags, mode));            \
		return gmp_fd_made(ret);                                           \
	}

OPEN_MODE(open, (const char *path, int flags, ...), path)
OPEN_MODE(open64, (const char *path, int flags, ...), path)
OPEN_MODE(openat, (int dir, const char *path, int flags, ...), dir, path)
OPEN_MODE(openat64, (int dir, const char *path, int flags, ...), dir, path)
OPEN(creat, (const char *path, mode_t mode), (path, mode))
OPEN(creat64, (const char *path, mode_t mode), (path, mode))
OPEN(__open_2, (const char *path, int flags), (path, flags))
OPEN(__open64_2, (const char *path, int flags), (path, flags))
OPEN(__openat_2, (int dir, const char *path, int flags), (dir, path, flags))
OPEN(__openat64_2, (int dir, const char *path, int flags), (dir, path, flags))

/* --- flags --- */

/* name is fcntl or fcntl64, which are one function in libc; the argument is an int, a pointer or nothing. */
#define FCNTL(name)                                                    \
	int hook_##name(int fd, int cmd, ...)                          \
	{                                                              \
		void *arg;                                             \
		va_list ap;                                            \
		int ret;                                               \
                                                                       \
		va_start(ap, cmd);                                     \
		arg = va_arg(ap, void *);                              \
		va_end(ap);                                            \
		switch (cmd) {                                         \
		case F_DUPFD:                                          \
		case F_DUPFD_CLOEXEC:                                  \
			return gmp_fd_made(PASS(name)(fd, cmd, arg));  \
		case F_SETFL:                                          \
			if ((uintptr_t)arg & O_DIRECT)                 \
				packets_used();                        \
			ret = PASS(name)(fd, cmd, arg);                \
			fl_changed();                                  \
			return ret;                                    \
		case F_SETLKW:                                         \
		case F_OFD_SETLKW:                                     \
			if (!on_g())                                   \
				break;                                 \
			stress_point();                                \
			HANDOFF_CALL(ret, real.name(fd, cmd, arg));    \
			return ret;                                    \
		}                                                      \
		return PASS(name)(fd, cmd, arg);                       \
	}

FCNTL(fcntl)
FCNTL(fcntl64)

int hook_ioctl(int fd, unsigned long request, ...)
{
	void *arg;
	va_list ap;
	int ret;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case FIONBIO:
		ret = PASS(ioctl)(fd, request, arg);
		fl_changed();
		return ret;
	case FIONREAD:
	case FIOCLEX:
	case FIONCLEX:
	case TIOCGWINSZ:
	case TCGETS:
		return PASS(ioctl)(fd, request, arg);
	}
	if (!on_g())
		return PASS(ioctl)(fd, request, arg);
	stress_point();
	HANDOFF_CALL(ret, real.ioctl(fd, request, arg));
	return ret;
}
