/* SPDX-License-Identifier: MIT */
/*
 * What a netpoller with io_uring could reach at most: httpd_epoll.c with completions instead of readiness. Each of
 * GOMAXPROCS (2) threads has a ring, accepts, receives and sends by it, and makes one system call for each batch.
 * A receive has the connection's own buffer, as read(2) of a thread would. Same output.
 */
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "httpd.h"

#define ENTRIES 8192 /* of the submission queue: two for each connection of a batch */
#define MAX_FDS 65536

enum op { ACCEPT = 1, RECV, SEND }; /* user_data: op << 32 | fd */

struct ring {
	int fd;
	_Atomic(unsigned) *sq_head, *sq_tail, *cq_head, *cq_tail;
	unsigned sq_mask, cq_mask, to_submit;
	unsigned *sq_array;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static int listener;
static char *bufs[MAX_FDS];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void ring_make(struct ring *r)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
					     IORING_SETUP_CQSIZE,
				    .cq_entries = 4 * ENTRIES};
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (r->fd < 0)
		die("io_uring_setup");
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqes == MAP_FAILED)
		die("mmap of the ring");
	r->sq_head = (_Atomic(unsigned) *)(sq + p.sq_off.head);
	r->sq_tail = (_Atomic(unsigned) *)(sq + p.sq_off.tail);
	r->sq_mask = *(unsigned *)(sq + p.sq_off.ring_mask);
	r->sq_array = (unsigned *)(sq + p.sq_off.array);
	r->cq_head = (_Atomic(unsigned) *)(cq + p.cq_off.head);
	r->cq_tail = (_Atomic(unsigned) *)(cq + p.cq_off.tail);
	r->cq_mask = *(unsigned *)(cq + p.cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	for (unsigned i = 0; i < p.sq_entries; i++)
		r->sq_array[i] = i;
}

static void ring_enter(struct ring *r, unsigned wait)
{
	long n = syscall(SYS_io_uring_enter, r->fd, r->to_submit, wait, IORING_ENTER_GETEVENTS, NULL, 0);

	if (n < 0)
		die("io_uring_enter");
	r->to_submit -= (unsigned)n;
}

static struct io_uring_sqe *ring_get(struct ring *r, int opcode, int fd, enum op op)
{
	unsigned tail = atomic_load_explicit(r->sq_tail, memory_order_relaxed);
	struct io_uring_sqe *s;

	if (tail - atomic_load_explicit(r->sq_head, memory_order_acquire) > r->sq_mask)
		ring_enter(r, 0);
	s = &r->sqes[tail & r->sq_mask];
	memset(s, 0, sizeof(*s));
	s->opcode = (unsigned char)opcode;
	s->fd = fd;
	s->user_data = (unsigned long long)op << 32 | (unsigned)fd;
	atomic_store_explicit(r->sq_tail, tail + 1, memory_order_release);
	r->to_submit++;
	return s;
}

static void receive(struct ring *r, int fd)
{
	struct io_uring_sqe *s = ring_get(r, IORING_OP_RECV, fd, RECV);

	s->addr = (unsigned long long)(size_t)bufs[fd];
	s->len = 2048;
}

static void accept_more(struct ring *r)
{
	struct io_uring_sqe *s = ring_get(r, IORING_OP_ACCEPT, listener, ACCEPT);

	s->ioprio = IORING_ACCEPT_MULTISHOT;
}

static void handle(struct ring *r, const struct io_uring_cqe *c)
{
	int fd = (int)(unsigned)c->user_data, one = 1;
	struct io_uring_sqe *s;

	switch ((enum op)(c->user_data >> 32)) {
	case ACCEPT:
		if (!(c->flags & IORING_CQE_F_MORE))
			accept_more(r);
		if (c->res < 0 || c->res >= MAX_FDS)
			return;
		setsockopt(c->res, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (bufs[c->res] == NULL)
			bufs[c->res] = malloc(2048);
		receive(r, c->res);
		break;
	case RECV:
		if (c->res <= 0) {
			close(fd);
			return;
		}
		s = ring_get(r, IORING_OP_SEND, fd, SEND);
		s->addr = (unsigned long long)(size_t)answer;
		s->len = sizeof(answer) - 1;
		s->msg_flags = MSG_WAITALL;
		receive(r, fd);
		break;
	case SEND: /* an error is seen by the receive as well */
		break;
	}
}

static void *loop(void *arg)
{
	struct ring r = {0};

	ring_make(&r);
	accept_more(&r);
	for (;;) {
		unsigned head, tail;

		ring_enter(&r, 1);
		head = atomic_load_explicit(r.cq_head, memory_order_relaxed);
		tail = atomic_load_explicit(r.cq_tail, memory_order_acquire);
		for (; head != tail; head++)
			handle(&r, &r.cqes[head & r.cq_mask]);
		atomic_store_explicit(r.cq_head, head, memory_order_release);
	}
	return arg;
}

int main(void)
{
	const char *procs = getenv("GOMAXPROCS");
	int n = procs != NULL ? atoi(procs) : 2;
	pthread_t t;

	if (n < 1 || n > 64)
		return 2;
	listener = httpd_listen();
	for (int i = 0; i < n; i++)
		pthread_create(&t, NULL, loop, NULL);
	httpd_report(NULL);
	return 0;
}
