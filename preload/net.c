// SPDX-License-Identifier: MIT
/*
 * Sockets. Sends and receives are tried with MSG_DONTWAIT. accept and connect have no such form:
 *
 * accept: a zero-timeout poll, then accept4 as a call that may block. For a busy listener that is one short system call
 * (0.2 us) before one that makes a socket (2 us and more, and a thread after it). The other orders cost more: accept4
 * at once keeps an M in the kernel per idle listener and thread; parking first needs an event of the netpoller per
 * connection although more are queued. Two threads may see one connection: the loser blocks an M, not a P, until
 * the next one comes, as it would natively.
 *
 * connect: O_NONBLOCK would show to others who share the file. But a call that is interrupted leaves TCP at work, so
 * the kernel begins, and is interrupted if it takes long; the rest is a wait like any other. A connection to a Unix
 * socket waits for room in the backlog, of which no event tells, and begins anew after an interruption: an M waits.
 */
#include <netinet/tcp.h>

#include "preload/io.h"

_Atomic(bool) gmp_socket_lingers;
_Atomic(bool) gmp_socket_timeouts;
_Atomic(bool) gmp_short_unsure;
static _Atomic(bool) lowat_used;

bool gmp_socket_lowat(int fd)
{
	socklen_t len = sizeof(int);
	int v = 1;

	/* relaxed: the program orders its setsockopt before the receive it is meant for */
	if (likely(!atomic_load_explicit(&lowat_used, memory_order_relaxed)))
		return false;
	return sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &v, &len) == 0 && v > 1;
}

void gmp_socket_lowat_used(void)
{
	atomic_store_explicit(&lowat_used, true, memory_order_relaxed);
	atomic_store_explicit(&gmp_short_unsure, true, memory_order_relaxed);
}

int hook_setsockopt(int fd, int level, int opt, const void *val, socklen_t len)
{
	int ret = PASS(setsockopt)(fd, level, opt, val, len);

	if (ret == 0 && level == SOL_SOCKET) {
		const struct timeval *tv = val; /* long enough, or the kernel had refused */

		if (opt == SO_RCVTIMEO || opt == SO_SNDTIMEO) {
			if (tv->tv_sec != 0 || tv->tv_usec != 0)
				atomic_store_explicit(&gmp_socket_timeouts, true, memory_order_relaxed);
		} else if (opt == SO_LINGER) {
			atomic_store_explicit(&gmp_socket_lingers, true, memory_order_relaxed);
		} else if (opt == SO_RCVLOWAT && *(const int *)val != 1) {
			gmp_socket_lowat_used();
		} else if (opt == SO_OOBINLINE) {
			atomic_store_explicit(&gmp_short_unsure, true, memory_order_relaxed);
		}
	}
	return ret;
}

bool gmp_socket_stream(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Datagrams fail with EPIPE alone, all others with SIGPIPE as well. */
void gmp_socket_sigpipe(int fd, int flags)
{
	socklen_t len = sizeof(int);
	int protocol = 0;

	if (flags & MSG_NOSIGNAL)
		return;
	if (gmp_socket_stream(fd) ||
	    (sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_SCTP))
		gmp_io_sigpipe();
}

/* --- receiving --- */

/* These never wait, whatever the socket: the try is the call. */
#define RECV_NOW (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)

/* Urgent data begins here: MSG_WAITALL does not read across it. */
static bool at_mark(int fd)
{
	int at = 0;

	return sys3(__NR_ioctl, fd, SIOCATMARK, &at) == 0 && at;
}

/* MSG_PEEK|MSG_WAITALL, SO_RCVLOWAT, timeouts of recvmmsg: park until something is there, the kernel does the rest. */
static int wait_readable(struct io *io)
{
	int next;

	do {
		if (gmp_io_look(io->ref.fd, POLLIN) != 0)
			return IO_BLOCK;
		next = gmp_io_wait(io);
	} while (next == IO_RETRY);
	return next;
}

static ssize_t recv_kernel(int fd, void *buf, size_t n, int flags, __SOCKADDR_ARG addr, socklen_t *len)
{
	struct io io;
	long rc;
	int next;

	gmp_io_begin(&io, fd, PD_READ, true);
	next = wait_readable(&io);
	if (next == IO_BLOCK || next == EAGAIN) /* EAGAIN: the call knows better whether its flags make it so */
		HANDOFF_RAW(rc,
			    real.recvfrom(io.ref.fd, buf, n, flags | (next == EAGAIN ? MSG_DONTWAIT : 0), addr, len));
	else
		rc = -next;
	return gmp_io_end(&io, rc);
}

/* MSG_WAITALL on a stream, after a first part: until all is there, or end of file, error, signal, urgent data. */
static long recv_rest(struct io *io, char *buf, size_t n, int flags, size_t done)
{
	io->restart = false;
	while (done < n) {
		long rc;

		if (!io->waited && gmp_fd_nonblock(io->ref.fd, io->ref.pd))
			break;
		if (at_mark(io->ref.fd))
			break;
		rc = sys6(__NR_recvfrom, io->ref.fd, buf + done, n - done, flags | MSG_DONTWAIT, NULL, NULL);
		if (rc == -EAGAIN) {
			int next = gmp_io_wait(io);

			if (next == IO_RETRY)
				continue;
			if (next == IO_BLOCK)
				HANDOFF_RAW(rc, real.recv(io->ref.fd, buf + done, n - done, flags));
		}
		if (rc <= 0)
			break;
		done += (size_t)rc;
	}
	return (long)done;
}

/* On a G. */
static ssize_t do_recv(int fd, void *buf, size_t n, int flags, __SOCKADDR_ARG addr, socklen_t *len)
{
	struct io io;
	uint16_t kind;
	bool empty;
	long rc;
	int next;

	stress_point();
	gmp_testcancel();
	if (unlikely(flags & MSG_OOB)) /* reads stop at the mark, now that the kernel may have forgotten it */
		atomic_store_explicit(&gmp_short_unsure, true, memory_order_relaxed);
	if (flags & RECV_NOW) {
		rc = sys6(__NR_recvfrom, fd, buf, n, flags, addr.__sockaddr__, len);
		if (rc > 0)
			gmp_io_received(gmp_pd(fd, false));
		return gmp_io_ret(rc);
	}
	kind = gmp_fd_kind(fd, gmp_pd(fd, true)); /* a socket, or the call fails */
	if (unlikely((flags & (MSG_PEEK | MSG_WAITALL)) == (MSG_PEEK | MSG_WAITALL) || gmp_socket_lowat(fd)))
		return recv_kernel(fd, buf, n, flags, addr, len);
	gmp_io_begin(&io, fd, PD_READ, true);
	if (unlikely(flags & (MSG_PEEK | MSG_WAITALL)))
		kind = 0; /* a short one proves nothing */
	empty = gmp_io_known_empty(&io.ref, kind);
	while (empty || (rc = sys6(__NR_recvfrom, io.ref.fd, buf, n, flags | MSG_DONTWAIT, addr.__sockaddr__, len)) ==
				-EAGAIN) {
		empty = false;
		next = gmp_io_wait(&io);
		if (next == IO_RETRY)
			continue;
		if (next == IO_BLOCK)
			HANDOFF_RAW(rc, real.recvfrom(io.ref.fd, buf, n, flags, addr, len));
		else
			rc = -next;
		break;
	}
	gmp_io_short(&io, kind, rc, n);
	if ((flags & MSG_WAITALL) && rc > 0 && (size_t)rc < n && gmp_socket_stream(io.ref.fd))
		rc = recv_rest(&io, buf, n < IO_MAX ? n : IO_MAX, flags, (size_t)rc);
	if (likely(rc > 0))
		gmp_io_received(io.ref.pd);
	return gmp_io_end(&io, rc);
}

ssize_t hook_recv(int fd, void *buf, size_t n, int flags)
{
	if (!on_g())
		return PASS(recv)(fd, buf, n, flags);
	return do_recv(fd, buf, n, flags, (__SOCKADDR_ARG){.__sockaddr__ = NULL}, NULL);
}

ssize_t hook_recvfrom(int fd, void *buf, size_t n, int flags, __SOCKADDR_ARG addr, socklen_t *len)
{
	if (!on_g())
		return PASS(recvfrom)(fd, buf, n, flags, addr, len);
	return do_recv(fd, buf, n, flags, addr, len);
}

ssize_t hook___recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	return unlikely(n > size) ? PASS(__recv_chk)(fd, buf, n, size, flags) : hook_recv(fd, buf, n, flags);
}

ssize_t hook___recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr, socklen_t *len)
{
	return unlikely(n > size) ? PASS(__recvfrom_chk)(fd, buf, n, size, flags, addr, len)
				  : hook_recvfrom(fd, buf, n, flags, (__SOCKADDR_ARG){.__sockaddr__ = addr}, len);
}

/* Descriptors that came with a message are new. */
static void fds_received(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			__builtin_memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			gmp_fd_made(fd);
		}
	}
}

ssize_t hook_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct io io;
	long rc;
	int next;

	if (!on_g())
		return PASS(recvmsg)(fd, msg, flags);
	stress_point();
	gmp_testcancel();
	if (flags & RECV_NOW) {
		rc = gmp_io_ret(sys3(__NR_recvmsg, fd, msg, flags));
		if (rc > 0)
			gmp_io_received(gmp_pd(fd, false));
		goto received;
	}
	gmp_io_begin(&io, fd, PD_READ, true);
	if (unlikely((flags & MSG_WAITALL) || gmp_socket_lowat(fd))) {
		/* Where descriptors or credentials end a message only the kernel knows. */
		next = wait_readable(&io);
		if (next == IO_BLOCK || next == EAGAIN)
			HANDOFF_RAW(rc, real.recvmsg(io.ref.fd, msg, flags | (next == EAGAIN ? MSG_DONTWAIT : 0)));
		else
			rc = -next;
	} else {
		while ((rc = sys3(__NR_recvmsg, io.ref.fd, msg, flags | MSG_DONTWAIT)) == -EAGAIN) {
			next = gmp_io_wait(&io);
			if (next == IO_RETRY)
				continue;
			if (next == IO_BLOCK)
				HANDOFF_RAW(rc, real.recvmsg(io.ref.fd, msg, flags));
			else
				rc = -next;
			break;
		}
	}
	if (likely(rc > 0))
		gmp_io_received(io.ref.pd);
	rc = gmp_io_end(&io, rc);
received:
	if (rc >= 0 && unlikely(msg->msg_controllen >= sizeof(struct cmsghdr)))
		fds_received(msg);
	return rc;
}

/* Waits for n messages, not only for one, unless MSG_WAITFORONE says so. */
int hook_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	unsigned got = 0;
	struct io io;
	long rc;
	int next;

	if (!on_g())
		return PASS(recvmmsg)(fd, msgs, n, flags, timeout);
	stress_point();
	gmp_testcancel();
	if (flags & RECV_NOW)
		return (int)gmp_io_ret(sys5(__NR_recvmmsg, fd, msgs, n, flags, timeout));
	gmp_io_begin(&io, fd, PD_READ, true);
	if (timeout != NULL || (flags & MSG_WAITALL) || gmp_socket_lowat(fd)) {
		next = wait_readable(&io);
		if (next == IO_BLOCK || next == EAGAIN)
			HANDOFF_RAW(rc, real.recvmmsg(io.ref.fd, msgs, n, flags | (next == EAGAIN ? MSG_DONTWAIT : 0),
						      timeout));
		else
			rc = -next;
		return (int)gmp_io_end(&io, rc);
	}
	for (;;) {
		rc = sys5(__NR_recvmmsg, io.ref.fd, msgs + got, n - got, flags | MSG_DONTWAIT, NULL);
		if (rc == -EAGAIN) {
			next = gmp_io_wait(&io);
			if (next == IO_RETRY)
				continue;
			if (next == IO_BLOCK)
				HANDOFF_RAW(rc, real.recvmmsg(io.ref.fd, msgs + got, n - got, flags, NULL));
			else
				rc = -next;
		}
		if (rc <= 0)
			break;
		got += (unsigned)rc;
		if (got >= n || (flags & MSG_WAITFORONE) || (!io.waited && gmp_fd_nonblock(io.ref.fd, io.ref.pd)))
			break;
		io.restart = false;
	}
	for (unsigned i = 0; i < got; i++)
		if (msgs[i].msg_hdr.msg_controllen >= sizeof(struct cmsghdr))
			fds_received(&msgs[i].msg_hdr);
	return (int)gmp_io_end(&io, got > 0 ? (long)got : rc);
}

/* --- sending --- */

/* One call is one notification, one SYN with data: not to be cut in pieces. */
#define SEND_WHOLE (MSG_ZEROCOPY | MSG_FASTOPEN)

/* The result of a send with MSG_NOSIGNAL. */
static long send_ret(int fd, long rc, int flags)
{
	if (unlikely(rc == -EPIPE))
		gmp_socket_sigpipe(fd, flags);
	return rc;
}

/* On a G. */
static ssize_t do_send(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, n};
	struct put p = {
		.fn = gmp_put_socket, .iov = &iov, .n = 1, .flags = flags, .addr = addr.__sockaddr__, .addrlen = len};
	long rc;

	stress_point();
	gmp_testcancel();
	if (flags & MSG_DONTWAIT)
		return gmp_io_ret(send_ret(
			fd, sys6(__NR_sendto, fd, buf, n, flags | MSG_NOSIGNAL, addr.__sockaddr__, len), flags));
	if (likely(!(flags & SEND_WHOLE)))
		return gmp_io_put(fd, &p, true);
	HANDOFF_RAW(rc, real.sendto(fd, buf, n, flags | MSG_NOSIGNAL, addr, len));
	return gmp_io_ret(send_ret(fd, rc, flags));
}

ssize_t hook_send(int fd, const void *buf, size_t n, int flags)
{
	if (!on_g())
		return PASS(send)(fd, buf, n, flags);
	return do_send(fd, buf, n, flags, (__CONST_SOCKADDR_ARG){.__sockaddr__ = NULL}, 0);
}

ssize_t hook_sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	if (!on_g())
		return PASS(sendto)(fd, buf, n, flags, addr, len);
	return do_send(fd, buf, n, flags, addr, len);
}

ssize_t hook_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct put p = {.fn = gmp_put_socket, .msg = msg, .flags = flags};
	long rc;

	if (!on_g())
		return PASS(sendmsg)(fd, msg, flags);
	stress_point();
	gmp_testcancel();
	if (flags & MSG_DONTWAIT)
		return gmp_io_ret(send_ret(fd, sys3(__NR_sendmsg, fd, msg, flags | MSG_NOSIGNAL), flags));
	if (likely(!(flags & SEND_WHOLE)))
		return gmp_io_put(fd, &p, true);
	HANDOFF_RAW(rc, real.sendmsg(fd, msg, flags | MSG_NOSIGNAL));
	return gmp_io_ret(send_ret(fd, rc, flags));
}

/* A stream may take a part of a message, which only the sender of single ones finishes. */
static int sendmmsg_stream(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	unsigned sent;

	for (sent = 0; sent < n && sent < IOV_MAX; sent++) {
		struct put p = {.fn = gmp_put_socket, .msg = &msgs[sent].msg_hdr, .flags = flags};
		ssize_t rc = gmp_io_put(fd, &p, true);

		if (rc < 0)
			return sent > 0 ? (int)sent : -1;
		msgs[sent].msg_len = (unsigned)rc;
	}
	return (int)sent;
}

int hook_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	unsigned sent = 0;
	struct io io;
	long rc;
	int next;

	if (!on_g())
		return PASS(sendmmsg)(fd, msgs, n, flags);
	stress_point();
	gmp_testcancel();
	if (flags & MSG_DONTWAIT)
		return (int)gmp_io_ret(send_ret(fd, sys4(__NR_sendmmsg, fd, msgs, n, flags | MSG_NOSIGNAL), flags));
	if (unlikely(flags & SEND_WHOLE)) {
		HANDOFF_RAW(rc, real.sendmmsg(fd, msgs, n, flags | MSG_NOSIGNAL));
		return (int)gmp_io_ret(send_ret(fd, rc, flags));
	}
	if (gmp_socket_stream(fd))
		return sendmmsg_stream(fd, msgs, n, flags);
	if (n > IOV_MAX)
		n = IOV_MAX; /* UIO_MAXIOV: the kernel sends no more in one call */
	gmp_io_begin(&io, fd, PD_WRITE, true);
	for (;;) {
		rc = sys4(__NR_sendmmsg, io.ref.fd, msgs + sent, n - sent, flags | MSG_DONTWAIT);
		if (rc == -EAGAIN) {
			next = gmp_io_wait(&io);
			if (next == IO_RETRY)
				continue;
			if (next == IO_BLOCK)
				HANDOFF_RAW(rc, real.sendmmsg(io.ref.fd, msgs + sent, n - sent, flags));
			else
				rc = -next;
		}
		if (rc <= 0)
			break;
		sent += (unsigned)rc;
		if (sent >= n)
			break;
		io.restart = false;
	}
	return (int)gmp_io_end(&io, sent > 0 ? (long)sent : rc);
}

/* --- connections --- */

/* Anything else fails in accept at once, though poll does not say so. */
static bool is_listener(struct io *io)
{
	struct poll_desc *pd = io->ref.pd;
	socklen_t len = sizeof(int);
	int v = 0;

	if (pd != NULL && (atomic_load_explicit(&pd->kind, memory_order_relaxed) & KIND_LISTENER))
		return true;
	if (gmp_fd_kind(io->ref.fd, pd) == PDK_UNKNOWN ||
	    sys5(__NR_getsockopt, io->ref.fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &len) != 0 || !v)
		return false;
	gmp_fd_learn(pd, KIND_LISTENER);
	return true;
}

/* On a G. */
static int do_accept(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags)
{
	struct io io;
	uint16_t kind;
	long rc;
	int next;

	stress_point();
	gmp_testcancel();
	gmp_io_begin(&io, fd, PD_READ, true);
	for (;;) {
		next = IO_BLOCK;
		if (gmp_io_look(io.ref.fd, POLLIN) == 0 && is_listener(&io))
			next = gmp_io_wait(&io);
		if (next == IO_RETRY)
			continue;
		if (next == IO_BLOCK)
			HANDOFF_RAW(rc, real.accept4(io.ref.fd, addr, len, flags));
		else
			rc = -next;
		break;
	}
	kind = io.ref.pd != NULL ? atomic_load_explicit(&io.ref.pd->kind, memory_order_relaxed) : PDK_UNKNOWN;
	rc = gmp_io_end(&io, rc);
	return gmp_fd_made_as((int)rc, kind & (KIND_MASK | KIND_SEQPACKET | KIND_STREAM), (flags & SOCK_NONBLOCK) != 0);
}

int hook_accept(int fd, __SOCKADDR_ARG addr, socklen_t *len)
{
	if (!on_g())
		return gmp_fd_made(PASS(accept)(fd, addr, len));
	return do_accept(fd, addr, len, 0);
}

int hook_accept4(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags)
{
	if (!on_g())
		return gmp_fd_made(PASS(accept4)(fd, addr, len, flags));
	return do_accept(fd, addr, len, flags);
}

/* A connection is being made. */
static bool tcp_connecting(int fd)
{
	unsigned char state = 0; /* the first byte of struct tcp_info */
	socklen_t len = sizeof(state);

	return sys5(__NR_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &state, &len) == 0 &&
	       (state == TCP_SYN_SENT || state == TCP_SYN_RECV);
}

/*
 * The connection has failed, or was never begun. True: *rc is the error, and the socket is as connect leaves it then,
 * ready for another try. Connecting to nowhere is the one way to tell it so that begins nothing.
 */
static bool tcp_failed(int fd, long *rc)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t len = sizeof(int);
	int err = 0;

	if (sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err == 0)
		return false;
	sys3(__NR_connect, fd, &none, sizeof(none));
	*rc = -err;
	return true;
}

/*
 * On a G. The kernel begins, and on loopback ends it at once. If it lasts the call is cut (gmp_syscall_cut); TCP goes
 * on with it, and the socket is writable when that has come to an end, of which a second call tells.
 */
static int connect_tcp(int fd, const struct sockaddr *addr, socklen_t len)
{
	bool already = false, cut = false;
	struct io io;
	long rc;
	int next;

	gmp_io_begin(&io, fd, PD_WRITE, true);
	io.waited = true;
	io.mark = intr_begin();
	io.deadline = gmp_socket_deadline(&io);
	if (unlikely(io.deadline != GMP_NO_DEADLINE))
		already = tcp_connecting(fd);
	while ((rc = gmp_syscall_cut(__NR_connect, io.ref.fd, (long)addr, len)) == -EINTR) {
		cut = true;
		/* It may not even have been begun: then the socket is as good as writable. */
		next = intr_fails(io.mark, io.deadline == GMP_NO_DEADLINE) ? EINTR : IO_RETRY;
		while (next == IO_RETRY && gmp_io_look(io.ref.fd, POLLOUT) == 0)
			next = gmp_io_wait(&io);
		if (next == IO_RETRY) {
			if (tcp_failed(io.ref.fd, &rc))
				break;
			continue;
		}
		if (next == IO_BLOCK)
			HANDOFF_RAW(rc, real.connect(io.ref.fd, (__CONST_SOCKADDR_ARG){.__sockaddr__ = addr}, len));
		else
			rc = next != EAGAIN ? -next : already ? -EALREADY : -EINPROGRESS;
		break;
	}
	if (rc == -EISCONN && cut) /* another thread has heard of it first */
		rc = 0;
	return (int)gmp_io_end(&io, rc);
}

int hook_connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	int ret;

	if (!on_g())
		return PASS(connect)(fd, addr, len);
	stress_point();
	gmp_testcancel();
	if ((gmp_fd_kind(fd, gmp_pd(fd, true)) & (KIND_MASK | KIND_STREAM)) == (PDK_SOCKET | KIND_STREAM))
		return connect_tcp(fd, addr.__sockaddr__, len);
	HANDOFF_CALL(ret, real.connect(fd, addr, len));
	return ret;
}
