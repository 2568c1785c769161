// SPDX-License-Identifier: MIT
/*
 * Data that moves from descriptor to descriptor inside the kernel: sendfile, splice, tee, vmsplice. No form of these
 * calls leaves both ends without a wait, so a look comes first and the wait is the netpoller's; then the call is made,
 * as one that may block, with no more than the socket at the far end has room for. It blocks only if somebody else
 * was faster. What is not certain to wait for an end that can be polled is the kernel's to judge, errors included.
 */
#include <linux/sock_diag.h>

#include "preload/io.h"

#define LEAST 4096 /* a piece, however little room there is: a page that is taken whole */

struct move {
	struct io in, out;
	bool in_waits, out_waits; /* a pipe or a socket, for which this call waits */
	bool to_stream;		  /* a socket, to which a part may go */
	bool checked;		  /* that these ends are such as can be waited for */
	short out_events;	  /* as last seen by wait_both */
};

static bool waits(uint16_t kind)
{
	return (kind & KIND_MASK) == PDK_PIPE || (kind & KIND_MASK) == PDK_SOCKET;
}

static void move_begin(struct move *m, int in, uint16_t in_kind, int out, uint16_t out_kind)
{
	gmp_io_begin(&m->in, in, PD_READ, (in_kind & KIND_MASK) == PDK_SOCKET);
	gmp_io_begin(&m->out, out, PD_WRITE, (out_kind & KIND_MASK) == PDK_SOCKET);
	m->in_waits = waits(in_kind);
	m->out_waits = waits(out_kind);
	m->to_stream = m->out.socket && ((out_kind & KIND_STREAM) || gmp_socket_stream(out));
	m->checked = false;
}

static ssize_t move_end(struct move *m, size_t done, long rc)
{
	bool ok = done > 0 || (rc != -EAGAIN && rc != -EINTR);

	gmp_netpoll_done(&m->in.ref, PD_READ, ok);
	gmp_netpoll_done(&m->out.ref, PD_WRITE, ok);
	return gmp_io_ret(done > 0 ? (ssize_t)done : rc);
}

/* The kernel refuses, without a wait: an end of a pipe used the wrong way round, a pipe into itself, a listener. */
static bool refused(const struct move *m)
{
	int in = m->in.ref.fd, out = m->out.ref.fd, v = 0;
	socklen_t len = sizeof(v);
	struct stat a, b;

	if (m->in_waits && (sys2(__NR_fcntl, in, F_GETFL) & O_ACCMODE) == O_WRONLY)
		return true;
	if (m->out_waits && (sys2(__NR_fcntl, out, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return true;
	if (m->in_waits && sys5(__NR_getsockopt, in, SOL_SOCKET, SO_ACCEPTCONN, &v, &len) == 0 && v)
		return true;
	return m->in_waits && m->out_waits && sys2(__NR_fstat, in, &a) == 0 && sys2(__NR_fstat, out, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Wait until both ends are ready. IO_RETRY: they are; else as gmp_io_wait. */
static int wait_both(struct move *m)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = m->in_waits ? m->in.ref.fd : -1, .events = POLLIN},
				      {.fd = m->out_waits ? m->out.ref.fd : -1, .events = POLLOUT}};
		struct __kernel_timespec zero = {0};
		struct io *io, *other;
		int next;

		sys5(__NR_ppoll, p, 2, &zero, NULL, sizeof(gmp_sigset));
		m->out_events = p[1].revents;
		if (m->in_waits && p[0].revents == 0)
			io = &m->in;
		else if (m->out_waits && p[1].revents == 0)
			io = &m->out;
		else
			return IO_RETRY;
		if (!m->checked && refused(m))
			return IO_BLOCK;
		m->checked = true;
		other = io == &m->in ? &m->out : &m->in;
		/* Between two pipes O_NONBLOCK of either counts for both. */
		if (m->in_waits && m->out_waits && !io->socket && !other->socket &&
		    gmp_fd_nonblock(other->ref.fd, other->ref.pd))
			return EAGAIN;
		if (!io->waited && other->waited && intr_fails(other->mark, other->restart))
			return EINTR;
		next = gmp_io_wait(io);
		if (next != IO_RETRY)
			return next;
	}
}

/* Bytes that a socket takes without a wait. */
static size_t socket_room(int fd, uint16_t kind)
{
	uint32_t info[SK_MEMINFO_VARS], used;
	socklen_t len = sizeof(info);

	if (sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0 || len < sizeof(info))
		return LEAST;
	used = info[kind & KIND_STREAM ? SK_MEMINFO_WMEM_QUEUED : SK_MEMINFO_WMEM_ALLOC];
	return info[SK_MEMINFO_SNDBUF] > used ? info[SK_MEMINFO_SNDBUF] - used : 0;
}

/*
 * For n bytes more: as wait_both, and the piece to begin with. EPIPE: others have gone already, and this socket is
 * broken; the kernel, in the middle of a call, would end it there without SIGPIPE.
 */
static int next_piece(struct move *m, uint16_t kind, size_t done, size_t n, size_t *ret_piece)
{
	int next;

	*ret_piece = n;
	if (m->to_stream && !m->in_waits && socket_room(m->out.ref.fd, kind) >= n)
		return IO_RETRY;
	next = wait_both(m);
	if (next == IO_RETRY && done > 0 && (m->out_events & (POLLERR | POLLHUP)))
		return EPIPE;
	if (next == IO_RETRY && m->to_stream && !gmp_fd_nonblock(m->out.ref.fd, m->out.ref.pd)) {
		size_t room = socket_room(m->out.ref.fd, kind);

		*ret_piece = room < LEAST ? (n < LEAST ? n : LEAST) : n < room ? n : room;
	}
	return next;
}

/* The kernel has moved less than a piece: for good? Not if it was a signal for the shim. */
static bool ended_short(const struct move *m, struct intr_mark mark)
{
	return intr_fails(mark, false) || gmp_fd_nonblock(m->out.ref.fd, m->out.ref.pd);
}

/* --- sendfile: the source is a file, which is never waited for; no cancellation point --- */

static ssize_t send_file(int out, int in, off64_t *off, size_t n, uint16_t kind)
{
	struct intr_mark mark = intr_begin();
	size_t done = 0, piece;
	struct move m;
	long rc = 0;

	move_begin(&m, in, PDK_UNKNOWN, out, kind);
	if (n > IO_MAX)
		n = IO_MAX;
	while (done < n) {
		int next = next_piece(&m, kind, done, n - done, &piece);

		if (next > 0 && (next != EAGAIN || m.out.waited)) {
			rc = -next;
			break;
		}
		/* EAGAIN without a wait: O_NONBLOCK. There may be other errors, which go before. */
		HANDOFF_WRITE(rc, real.sendfile64(m.out.ref.fd, in, off, piece));
		if (rc <= 0)
			break;
		done += (size_t)rc;
		/* A pipe takes what it takes. Less than a piece: a signal, or the file ends, as the next says. */
		if (!m.to_stream || ((size_t)rc < piece && ended_short(&m, mark)))
			break;
		m.out.restart = false;
	}
	return move_end(&m, done, rc);
}

ssize_t hook_sendfile64(int out, int in, off64_t *off, size_t n)
{
	bool shielded;
	uint16_t kind;
	ssize_t ret;

	if (!on_g())
		return PASS(sendfile64)(out, in, off, n);
	stress_point();
	kind = gmp_fd_kind(out, gmp_pd(out, true));
	if (!waits(kind) || (gmp_fd_kind(in, gmp_pd(in, true)) & KIND_MASK) != PDK_FILE || n == 0) {
		HANDOFF_CALL(ret, real.sendfile64(out, in, off, n));
		return ret;
	}
	shielded = gmp_cancel_shield();
	ret = send_file(out, in, off, n, kind);
	if (shielded)
		gmp_cancel_unshield();
	return ret;
}

ssize_t hook_sendfile(int out, int in, off_t *off, size_t n)
{
	_Static_assert(sizeof(off_t) == sizeof(off64_t), "one function in libc");
	return on_g() ? hook_sendfile64(out, in, off, n) : PASS(sendfile)(out, in, off, n);
}

/* --- splice and tee: one end is a pipe --- */

#define SPLICE_ALL (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* Whether the kernel would wait for the ends at all. */
static bool plain(const off64_t *offin, uint16_t in_kind, const off64_t *offout, uint16_t out_kind, size_t n,
		  unsigned flags)
{
	bool in_pipe = (in_kind & KIND_MASK) == PDK_PIPE, out_pipe = (out_kind & KIND_MASK) == PDK_PIPE;

	return n != 0 && (flags & ~SPLICE_ALL) == 0 && !(flags & SPLICE_F_NONBLOCK) && (in_pipe || out_pipe) &&
	       !(waits(in_kind) && offin != NULL) && !(waits(out_kind) && offout != NULL);
}

ssize_t hook_splice(int in, off64_t *offin, int out, off64_t *offout, size_t n, unsigned flags)
{
	struct intr_mark mark = intr_begin();
	uint16_t in_kind, out_kind;
	size_t done = 0, piece;
	struct move m;
	ssize_t ret;
	long rc = 0;

	if (!on_g())
		return PASS(splice)(in, offin, out, offout, n, flags);
	stress_point();
	gmp_testcancel();
	in_kind = gmp_fd_kind(in, gmp_pd(in, true));
	out_kind = gmp_fd_kind(out, gmp_pd(out, true));
	if (!plain(offin, in_kind, offout, out_kind, n, flags)) {
		HANDOFF_CALL(ret, real.splice(in, offin, out, offout, n, flags));
		return ret;
	}
	move_begin(&m, in, in_kind, out, out_kind);
	if (n > IO_MAX)
		n = IO_MAX;
	do {
		int next = next_piece(&m, out_kind, done, n - done, &piece);

		if (next > 0 && (next != EAGAIN || m.in.waited || m.out.waited)) {
			rc = -next;
			break;
		}
		HANDOFF_WRITE(rc, real.splice(m.in.ref.fd, offin, m.out.ref.fd, offout, piece, flags));
		if (rc <= 0)
			break;
		done += (size_t)rc;
		m.in.restart = m.out.restart = false;
		/* Into a socket goes all that the pipe has. */
	} while (m.to_stream && done < n && !((size_t)rc < piece && ended_short(&m, mark)) &&
		 gmp_io_look(m.in.ref.fd, POLLIN) != 0);
	return move_end(&m, done, rc);
}

ssize_t hook_tee(int in, int out, size_t n, unsigned flags)
{
	uint16_t in_kind, out_kind;
	struct move m;
	ssize_t ret;
	long rc;
	int next;

	if (!on_g())
		return PASS(tee)(in, out, n, flags);
	stress_point();
	gmp_testcancel();
	in_kind = gmp_fd_kind(in, gmp_pd(in, true));
	out_kind = gmp_fd_kind(out, gmp_pd(out, true));
	if (!plain(NULL, in_kind, NULL, out_kind, n, flags) || (in_kind & KIND_MASK) != (out_kind & KIND_MASK)) {
		HANDOFF_CALL(ret, real.tee(in, out, n, flags));
		return ret;
	}
	move_begin(&m, in, in_kind, out, out_kind);
	next = wait_both(&m);
	if (next > 0 && (next != EAGAIN || m.in.waited || m.out.waited))
		rc = -next;
	else
		HANDOFF_WRITE(rc, real.tee(m.in.ref.fd, m.out.ref.fd, n, flags));
	return move_end(&m, 0, rc);
}

/* --- vmsplice: into a pipe or out of it; O_NONBLOCK does not matter --- */

ssize_t hook_vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	bool writes;
	struct io io;
	ssize_t ret;
	long rc;
	int next;

	if (!on_g())
		return PASS(vmsplice)(fd, iov, n, flags);
	stress_point();
	gmp_testcancel();
	writes = (sys2(__NR_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	gmp_io_begin(&io, fd, writes ? PD_WRITE : PD_READ, false);
	io.blocking = true;
	next = IO_BLOCK;
	if ((gmp_fd_kind(fd, io.ref.pd) & KIND_MASK) == PDK_PIPE && !(flags & SPLICE_F_NONBLOCK) && n != 0)
		do
			next = gmp_io_look(io.ref.fd, writes ? POLLOUT : POLLIN) != 0 ? IO_BLOCK : gmp_io_wait(&io);
		while (next == IO_RETRY);
	if (next == IO_BLOCK)
		HANDOFF_WRITE(rc, real.vmsplice(io.ref.fd, iov, n, flags));
	else
		rc = -next;
	ret = gmp_io_end(&io, rc);
	return ret;
}
