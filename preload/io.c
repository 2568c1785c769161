// SPDX-License-Identifier: MIT
/*
 * read, write and their vectors, and the loop that writes all of something (also net.c's).
 *
 * How a try avoids blocking depends on the file (enum pd_kind, found out once per descriptor):
 *   socket            MSG_DONTWAIT. Not for a read of nothing, which returns 0 where recv would wait
 *   pipe, anonymous   RWF_NOWAIT; where the kernel refuses it (FIFOs, writes to an eventfd): poll, then the real call
 *   others            the real call, an M waits
 */
#include "preload/io.h"

void gmp_io_sigpipe(void)
{
	siginfo_t info = {.si_signo = SIGPIPE, .si_code = SI_USER};

	info.si_pid = sys_getpid();
	info.si_uid = (uid_t)sys0(__NR_getuid);
	gmp_signal_send(getg(), SIGPIPE, &info);
}

int64_t gmp_socket_deadline(const struct io *io)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);

	gmp_fd_kind(io->ref.fd, io->ref.pd); /* one from elsewhere may have it set */
	/* relaxed: the program orders its setsockopt before the call it is meant for */
	if (likely(!atomic_load_explicit(&gmp_socket_timeouts, memory_order_relaxed)))
		return GMP_NO_DEADLINE;
	if (sys5(__NR_getsockopt, io->ref.fd, SOL_SOCKET, io->mode == PD_READ ? SO_RCVTIMEO : SO_SNDTIMEO, &tv, &len) !=
		    0 ||
	    (tv.tv_sec == 0 && tv.tv_usec == 0))
		return GMP_NO_DEADLINE;
	return gmp_deadline_rel(&(struct timespec){.tv_sec = tv.tv_sec, .tv_nsec = tv.tv_usec * 1000});
}

/* A datagram socket is writable, says poll, and yet the receiver's queue is full: of room there no event tells. */
static bool endless(const struct io *io)
{
	return io->socket && io->mode == PD_WRITE && io->ref.pd != NULL &&
	       !(atomic_load_explicit(&io->ref.pd->kind, memory_order_relaxed) & KIND_STREAM) &&
	       gmp_io_look(io->ref.fd, POLLOUT) > 0;
}

int gmp_io_wait(struct io *io)
{
	int rc;

	if (!io->waited) {
		if (!io->blocking && gmp_fd_nonblock(io->ref.fd, io->ref.pd))
			return EAGAIN;
		if (io->socket)
			io->deadline = gmp_socket_deadline(io);
		io->waited = true;
		io->mark = intr_begin();
	} else if (io->expired) {
		return EAGAIN;
	} else if (intr_fails(io->mark, io->restart && !(io->socket && io->deadline != GMP_NO_DEADLINE))) {
		return EINTR; /* signal(7): a socket call with a timeout is never restarted */
	}
	if (unlikely(endless(io)))
		return IO_BLOCK;
	rc = gmp_netpoll_wait(&io->ref, io->mode, io->deadline, "IO wait");
	switch (rc) {
	case PARK_READY:
		/* Cancelled before that event: it is for others, and the call ends here, as it does natively. */
		if (unlikely(atomic_load_explicit(&getg()->cancel_wake, memory_order_relaxed)) &&
		    gmp_cancel_pending(getg())) {
			gmp_netpoll_done(&io->ref, io->mode, true);
			gmp_testcancel();
		}
		return IO_RETRY;
	case PARK_TIMEOUT:
		io->expired = true;
		return IO_RETRY;
	case PARK_INTR:
		/* The duplicate that keeps a closed file open must not outlive a cancelled thread. */
		if (unlikely(io->ref.pd->orphan_refs > 0) && gmp_cancel_pending(getg()))
			gmp_netpoll_done(&io->ref, io->mode, false);
		gmp_io_interrupted();
		return IO_RETRY;
	case -EBADF:
		/* Closed or replaced since the try, which took nothing: as if the call had begun after that. */
		gmp_netpoll_done(&io->ref, io->mode, false);
		gmp_netpoll_begin(&io->ref, io->fd);
		return IO_RETRY;
	default:
		return IO_BLOCK;
	}
}

static bool no_nowait(long rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EPERM; /* the last from a sandbox that does not know it */
}

/* A file without RWF_NOWAIT: may the real call be made? It may when the program wants it not to wait. */
static bool may_call(struct io *io, short events)
{
	return gmp_io_look(io->ref.fd, events) != 0 || gmp_fd_nonblock(io->ref.fd, io->ref.pd);
}

/* --- reading --- */

static ssize_t read_nowait(int fd, const struct iovec *iov, int n, uint16_t kind)
{
	struct io io;
	bool empty;
	long rc;
	int next;

	gmp_io_begin(&io, fd, PD_READ, (kind & KIND_MASK) == PDK_SOCKET);
	empty = n == 1 && gmp_io_known_empty(&io.ref, kind);
	for (;;) {
		rc = -EOPNOTSUPP;
		if (unlikely(empty)) {
			rc = -EAGAIN;
			empty = false;
		} else if (likely(!(kind & KIND_NO_READ))) {
			rc = sys6(__NR_preadv2, io.ref.fd, iov, n, -1, -1, RWF_NOWAIT);
			if (unlikely(no_nowait(rc))) {
				kind |= KIND_NO_READ;
				gmp_fd_learn(io.ref.pd, KIND_NO_READ);
			}
		}
		if (unlikely(no_nowait(rc))) {
			rc = -EAGAIN;
			if (may_call(&io, POLLIN)) {
				HANDOFF_RAW(rc, real.readv(io.ref.fd, iov, n));
				break;
			}
		}
		if (likely(rc != -EAGAIN))
			break;
		next = gmp_io_wait(&io);
		if (next == IO_RETRY)
			continue;
		if (next == IO_BLOCK)
			HANDOFF_RAW(rc, real.readv(io.ref.fd, iov, n));
		else
			rc = -next;
		break;
	}
	if (n == 1 && rc > 0)
		gmp_io_short(&io, kind, rc, iov->iov_len);
	if (rc > 0)
		gmp_io_received(io.ref.pd);
	return gmp_io_end(&io, rc);
}

static ssize_t read_socket(int fd, void *buf, size_t n, uint16_t kind)
{
	struct io io;
	bool empty;
	long rc;
	int next;

	gmp_io_begin(&io, fd, PD_READ, true);
	empty = gmp_io_known_empty(&io.ref, kind);
	while (empty ||
	       (rc = sys6(__NR_recvfrom, io.ref.fd, buf, n, MSG_DONTWAIT, NULL, NULL)) == -EAGAIN) {
		empty = false;
		next = gmp_io_wait(&io);
		if (next == IO_RETRY)
			continue;
		if (next == IO_BLOCK)
			HANDOFF_RAW(rc, real.read(io.ref.fd, buf, n));
		else
			rc = -next;
		break;
	}
	gmp_io_short(&io, kind, rc, n);
	if (likely(rc > 0))
		gmp_io_received(io.ref.pd);
	return gmp_io_end(&io, rc);
}

ssize_t hook_read(int fd, void *buf, size_t n)
{
	ssize_t ret;
	uint16_t kind;

	if (!on_g())
		return PASS(read)(fd, buf, n);
	stress_point();
	gmp_testcancel();
	kind = gmp_fd_kind(fd, gmp_pd(fd, true));
	if (n != 0) {
		switch (kind & KIND_MASK) {
		case PDK_SOCKET:
			if (unlikely(gmp_socket_lowat(fd)))
				break;
			return read_socket(fd, buf, n, kind);
		case PDK_PIPE:
		case PDK_OTHER:
			return read_nowait(fd, &(struct iovec){buf, n}, 1, kind);
		}
	}
	HANDOFF_CALL(ret, real.read(fd, buf, n));
	return ret;
}

ssize_t hook_readv(int fd, const struct iovec *iov, int n)
{
	ssize_t ret;
	uint16_t kind;

	if (!on_g())
		return PASS(readv)(fd, iov, n);
	stress_point();
	gmp_testcancel();
	kind = gmp_fd_kind(fd, gmp_pd(fd, true));
	switch (kind & KIND_MASK) {
	case PDK_SOCKET:
		if (unlikely(gmp_socket_lowat(fd)))
			break;
		return read_nowait(fd, iov, n, kind);
	case PDK_PIPE:
	case PDK_OTHER:
		return read_nowait(fd, iov, n, kind);
	}
	HANDOFF_CALL(ret, real.readv(fd, iov, n));
	return ret;
}

/* --- writing --- */

#define WINDOW 8

static size_t iov_total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n && sum < IO_MAX; i++)
		sum += iov[i].iov_len < IO_MAX ? iov[i].iov_len : IO_MAX;
	return sum < IO_MAX ? sum : IO_MAX;
}

/* What is left of iov[n] after `done` bytes, at most `total` in all: as many pieces as fit the window. */
static int iov_rest(struct iovec win[WINDOW], const struct iovec *iov, int n, size_t done, size_t total)
{
	size_t left = total - done;
	int k = 0;

	for (int i = 0; i < n && k < WINDOW && left > 0; i++) {
		size_t len = iov[i].iov_len;

		if (done >= len) {
			done -= len;
			continue;
		}
		len -= done;
		if (len > left)
			len = left;
		win[k++] = (struct iovec){(char *)iov[i].iov_base + done, len};
		left -= len;
		done = 0;
	}
	return k;
}

/*
 * A blocking write returns when all is written; tries write what there is room for. Datagrams, and writes of up to
 * PIPE_BUF to a pipe, go whole or not at all by themselves. Once something was written the call cannot fail any more,
 * nor be restarted: a signal, a timeout or an error ends it with the count, as on Linux.
 */
ssize_t gmp_io_put(int fd, struct put *p, bool socket)
{
	struct iovec win[WINDOW];
	const struct iovec *iov = p->iov;
	int n = p->n, next;
	size_t done = 0, total = 0;
	struct io io;
	long rc;

	gmp_io_begin(&io, fd, PD_WRITE, socket);
	for (;;) {
		rc = p->fn(&io, p, iov, n, done, false);
		/* EINPROGRESS: TCP Fast Open sends its SYN now; then the socket becomes writable */
		if (rc == -EAGAIN || (unlikely(rc == -EINPROGRESS) && socket)) {
			next = gmp_io_wait(&io);
			if (next == IO_RETRY)
				continue;
			if (next == IO_BLOCK)
				rc = p->fn(&io, p, iov, n, done, true);
			else if (rc == -EAGAIN || next != EAGAIN)
				rc = -next;
		}
		if (rc <= 0)
			break;
		if (done == 0) {
			/* The kernel has read the iovec: now we may. */
			if (p->msg != NULL) {
				p->iov = p->msg->msg_iov;
				p->n = (int)p->msg->msg_iovlen;
			}
			total = iov_total(p->iov, p->n);
		}
		done += (size_t)rc;
		if (likely(done >= total))
			break;
		if (!io.waited && gmp_fd_nonblock(io.ref.fd, io.ref.pd))
			break;
		io.restart = false;
		n = iov_rest(win, p->iov, p->n, done, total);
		iov = win;
	}
	if (unlikely(rc == -EPIPE) && socket && done == 0) /* after a part: next time */
		gmp_socket_sigpipe(io.ref.fd, p->flags);
	return gmp_io_end(&io, done > 0 ? (long)done : rc);
}

long gmp_put_socket(struct io *io, struct put *p, const struct iovec *iov, int n, size_t done, bool block)
{
	int flags = p->flags | MSG_NOSIGNAL | (block ? 0 : MSG_DONTWAIT);
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
	const struct msghdr *mp = done == 0 && p->msg != NULL ? p->msg : &msg;
	int fd = io->ref.fd;
	long rc;

	if (likely(done == 0 && p->msg == NULL && n == 1)) {
		if (likely(!block))
			return sys6(__NR_sendto, fd, iov->iov_base, iov->iov_len, flags, p->addr, p->addrlen);
		HANDOFF_RAW(rc, real.sendto(fd, iov->iov_base, iov->iov_len, flags, p->addr, p->addrlen));
		return rc;
	}
	if (likely(!block))
		return sys3(__NR_sendmsg, fd, mp, flags);
	HANDOFF_RAW(rc, real.sendmsg(fd, mp, flags));
	return rc;
}

static long put_nowait(struct io *io, struct put *p, const struct iovec *iov, int n, size_t done, bool block)
{
	struct poll_desc *pd = io->ref.pd;
	long rc = -EOPNOTSUPP;
	bool took = false;

	(void)p;
	(void)done;
	if (likely(!block)) {
		if (likely(pd == NULL || !(atomic_load_explicit(&pd->kind, memory_order_relaxed) & KIND_NO_WRITE))) {
			gmp_enter(); /* stay on this M */
			rc = sys6(__NR_pwritev2, io->ref.fd, iov, n, -1, -1, RWF_NOWAIT);
			if (unlikely(rc == -EPIPE || (rc > 0 && (getg()->sigmask & SIG_BIT(SIGPIPE)) &&
						      (size_t)rc < iov_total(iov, n))))
				took = gmp_io_took_sigpipe();
			gmp_leave();
			if (unlikely(took))
				gmp_io_sigpipe();
		}
		if (likely(!no_nowait(rc)))
			return rc;
		gmp_fd_learn(pd, KIND_NO_WRITE);
		if (!may_call(io, POLLOUT))
			return -EAGAIN;
	}
	HANDOFF_WRITE(rc, real.writev(io->ref.fd, iov, n));
	return rc;
}

static ssize_t write_iov(int fd, const struct iovec *iov, int n, uint16_t kind)
{
	struct put p = {.fn = put_nowait, .iov = iov, .n = n};

	if ((kind & KIND_MASK) != PDK_SOCKET)
		return gmp_io_put(fd, &p, false);
	p.fn = gmp_put_socket;
	p.flags = kind & KIND_SEQPACKET ? MSG_EOR : 0;
	return gmp_io_put(fd, &p, true);
}

/*
 * A blocking write to a terminal is cut short by signals alone. One for another G does not count: the rest follows.
 * Where regular files end short the next write may raise SIGXFSZ, and devices have their own rules: only terminals.
 */
static bool tty_cut_short(int fd, size_t done, size_t n, struct intr_mark mark)
{
	struct termios t;

	return done < n && !intr_fails(mark, false) && sys3(__NR_ioctl, fd, TCGETS, &t) == 0 &&
	       !gmp_fd_nonblock(fd, gmp_pd(fd, true));
}

ssize_t hook_write(int fd, const void *buf, size_t n)
{
	struct intr_mark mark;
	ssize_t ret, more;
	uint16_t kind;

	if (!on_g())
		return PASS(write)(fd, buf, n);
	stress_point();
	gmp_testcancel();
	kind = gmp_fd_kind(fd, gmp_pd(fd, true));
	/* Nothing to write: an error check here, an empty datagram there; the kernel knows. */
	if (n != 0 && (kind & KIND_MASK) != PDK_FILE && kind != PDK_UNKNOWN)
		return write_iov(fd, &(struct iovec){(void *)(uintptr_t)buf, n}, 1, kind);
	mark = intr_begin();
	HANDOFF_CALL(ret, real.write(fd, buf, n));
	while (unlikely(ret > 0 && (size_t)ret < n) && tty_cut_short(fd, (size_t)ret, n, mark)) {
		HANDOFF_CALL(more, real.write(fd, (const char *)buf + ret, n - (size_t)ret));
		if (more <= 0)
			break;
		ret += more;
	}
	return ret;
}

ssize_t hook_writev(int fd, const struct iovec *iov, int n)
{
	struct intr_mark mark;
	struct iovec win[WINDOW];
	ssize_t ret, more;
	uint16_t kind;

	if (!on_g())
		return PASS(writev)(fd, iov, n);
	stress_point();
	gmp_testcancel();
	kind = gmp_fd_kind(fd, gmp_pd(fd, true));
	if (n > 0 && n <= IOV_MAX && (kind & KIND_MASK) != PDK_FILE && kind != PDK_UNKNOWN)
		return write_iov(fd, iov, n, kind);
	mark = intr_begin();
	HANDOFF_CALL(ret, real.writev(fd, iov, n));
	while (unlikely(ret > 0) && tty_cut_short(fd, (size_t)ret, iov_total(iov, n), mark)) {
		int k = iov_rest(win, iov, n, (size_t)ret, iov_total(iov, n));

		HANDOFF_CALL(more, real.writev(fd, win, k));
		if (more <= 0)
			break;
		ret += more;
	}
	return ret;
}

/* --- fortified twins --- */

ssize_t hook___read_chk(int fd, void *buf, size_t n, size_t size)
{
	return unlikely(n > size) ? PASS(__read_chk)(fd, buf, n, size) : hook_read(fd, buf, n);
}

ssize_t hook___pread_chk(int fd, void *buf, size_t n, off_t off, size_t size)
{
	return unlikely(n > size) ? PASS(__pread_chk)(fd, buf, n, off, size) : hook_pread(fd, buf, n, off);
}

ssize_t hook___pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t size)
{
	return unlikely(n > size) ? PASS(__pread64_chk)(fd, buf, n, off, size) : hook_pread64(fd, buf, n, off);
}
