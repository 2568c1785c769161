// SPDX-License-Identifier: MIT
/*
 * Properties of kernel threads that a program sets on a pthread: CPU affinity, scheduling policy and priority, nice.
 * A G that has one runs locked to its M for the rest of its life (Go: LockOSThread), and the M carries the property.
 * What another thread sets is recorded, and applied by the target itself at its next exit from the shim. Getters
 * answer what was set. When the G ends its M gets the process's own values back. As in NPTL a thread inherits all this
 * from its creator; from the process (what main had before threads began) it does so because all Ms have it.
 */
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "preload/preload.h"

enum { P_AFFINITY = 1, P_SCHED = 2, P_NICE = 4, P_BIND = 8 /* nothing but an M of its own */ };

struct props { /* owned by its G; written under props_lock by others */
	uint32_t set;	/* P_* that were set */
	uint32_t dirty; /* not yet on the M */
	_Atomic(bool) locked;
	int policy, nice;
	struct sched_param param;
	unsigned char cpus[128]; /* CPU_SETSIZE bits */
	int error;		 /* of the last application by the G itself, an errno */
	struct props *next;
};

/* The kernel's structure; its own header does not go with libc's. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

enum {
	ATTR_SIZE_VER0 = 48,
	ATTR_UTIL_CLAMP = 0x60, /* SCHED_FLAG_UTIL_CLAMP */
	POLICY_DEADLINE = 6,
};

static struct lock props_lock; /* rank SIG: core/HACKING.md */
static struct props *free_props;
/* what a thread without props has */
static struct {
	unsigned char cpus[128];
	int policy, nice;
	struct sched_param param;
	uint64_t runtime; /* of sched_getattr: the kernel's own slice */
} process;

static struct props *get_props(struct g *gp)
{
	struct props *pr = gp->props;

	if (pr != NULL)
		return pr;
	gmp_enter();
	gmp_lock(&props_lock);
	pr = free_props;
	if (pr != NULL)
		free_props = pr->next;
	gmp_unlock(&props_lock);
	gmp_leave();
	if (pr == NULL)
		pr = gmp_persistentalloc(sizeof(*pr), _Alignof(struct props));
	if (pr != NULL) {
		memset(pr, 0, sizeof(*pr));
		gp->props = pr;
	}
	return pr;
}

/* On the G itself, outside the shim: put on its M what is dirty. */
void gmp_props_apply(struct g *gp)
{
	struct props *pr = gp->props;
	uint32_t dirty = pr->dirty;

	pr->dirty = 0;
	if (dirty == 0)
		return;
	if (!pr->locked) {
		gmp_lock_own_thread();
		gp->m->props = true;
		/* release: gp->m is the one for good; pairs with gmp_props_bind() */
		atomic_store_explicit(&pr->locked, true, memory_order_release);
	}
	pr->error = 0;
	if (dirty & P_AFFINITY)
		pr->error = -(int)sys3(__NR_sched_setaffinity, gp->m->tid, sizeof(pr->cpus), pr->cpus);
	if (dirty & P_SCHED)
		pr->error = -(int)sys3(__NR_sched_setscheduler, gp->m->tid, pr->policy, &pr->param);
	if (dirty & P_NICE)
		pr->error = -(int)sys3(__NR_setpriority, PRIO_PROCESS, gp->m->tid, pr->nice);
}

static void reset(uint32_t which)
{
	if (which & P_AFFINITY)
		sys3(__NR_sched_setaffinity, 0, sizeof(process.cpus), process.cpus);
	if (which & P_SCHED)
		sys3(__NR_sched_setscheduler, 0, process.policy, &process.param);
	if (which & P_NICE)
		sys3(__NR_setpriority, PRIO_PROCESS, 0, process.nice);
}

void gmp_props_reset(void)
{
	reset(P_AFFINITY | P_SCHED | P_NICE);
}

/* The G is about to end: its M is an ordinary one again. */
void gmp_props_end(struct g *gp)
{
	struct props *pr = gp->props;

	if (pr == NULL)
		return;
	gp->props = NULL;
	if (pr->locked) {
		reset(pr->set);
		gp->m->props = false;
		gmp_unlock_os_thread();
	}
	gmp_enter();
	gmp_lock(&props_lock);
	pr->next = free_props;
	free_props = pr;
	gmp_unlock(&props_lock);
	gmp_leave();
}

/* The child's kernel thread has them from its parent. True: gp still needs that one. */
bool gmp_props_fork_child(struct g *gp)
{
	const struct props *pr = gp->props;

	props_lock = (struct lock){0};
	return pr != NULL && pr->locked;
}

void gmp_props_init(void)
{
	struct attr attr = {0};

	sys3(__NR_sched_getaffinity, 0, sizeof(process.cpus), process.cpus);
	process.policy = (int)sys1(__NR_sched_getscheduler, 0);
	sys2(__NR_sched_getparam, 0, &process.param);
	process.nice = 20 - (int)sys2(__NR_getpriority, PRIO_PROCESS, 0);
	if (sys4(__NR_sched_getattr, 0, &attr, sizeof(attr), 0) == 0)
		process.runtime = attr.runtime;
}

/* The property is in pr and valid: apply it, now for the caller, soon for another. An errno. */
static int changed(struct g *gp, struct props *pr, uint32_t which)
{
	pr->set |= which;
	pr->dirty |= which;
	if (gp == getg()) {
		gmp_props_apply(gp);
		return pr->error;
	}
	atomic_store_explicit(&gp->tls->deferred, 1, memory_order_relaxed);
	gmp_enter();
	gmp_interrupt(gp);
	gmp_leave();
	return 0;
}

int gmp_props_bind(struct g *gp)
{
	struct props *pr = get_props(gp);

	if (pr == NULL)
		return 0;
	changed(gp, pr, P_BIND);
	while (!atomic_load_explicit(&pr->locked, memory_order_acquire)) { /* it has been asked, and comes by */
		if (gp->exited || gp->props != pr)
			return 0;
		hook_sched_yield();
	}
	return gp->m->tid;
}

/* --- affinity --- */

/* Try the mask on the calling kernel thread and undo it. An errno; 0: ret has what is left of it on this machine. */
static int try_affinity(const void *cpus, size_t size, unsigned char ret[128] /* may be cpus */)
{
	unsigned char was[128];
	long rc;

	memset(was, 0, sizeof(was));
	gmp_enter();
	sys3(__NR_sched_getaffinity, 0, sizeof(was), was);
	rc = sys3(__NR_sched_setaffinity, 0, size, cpus);
	if (rc == 0) {
		memset(ret, 0, 128);
		sys3(__NR_sched_getaffinity, 0, 128, ret);
		sys3(__NR_sched_setaffinity, 0, sizeof(was), was);
	}
	gmp_leave();
	return (int)-rc;
}

static int set_affinity(struct g *gp, size_t size, const cpu_set_t *set)
{
	unsigned char cpus[128];
	struct props *pr = gp->props;
	int rc = try_affinity(set, size, cpus);

	if (rc != 0)
		return rc;
	/* what everybody has needs no M of its own */
	if (memcmp(cpus, process.cpus, sizeof(cpus)) == 0 && !(pr != NULL && pr->set & P_AFFINITY))
		return 0;
	pr = get_props(gp);
	if (pr == NULL)
		return ENOMEM;
	memcpy(pr->cpus, cpus, sizeof(pr->cpus));
	return changed(gp, pr, P_AFFINITY);
}

static int get_affinity(struct g *gp, size_t size, cpu_set_t *set)
{
	struct props *pr = gp->props;
	long n;

	/* size checks and the mask of a thread that never set one: the process's */
	n = sys3(__NR_sched_getaffinity, 0, size, set);
	if (n < 0)
		return (int)-n;
	memset((char *)set + n, 0, size - (size_t)n);
	if (pr != NULL && pr->set & P_AFFINITY)
		memcpy(set, pr->cpus, (size_t)n < sizeof(pr->cpus) ? (size_t)n : sizeof(pr->cpus));
	else
		memcpy(set, process.cpus, (size_t)n < sizeof(process.cpus) ? (size_t)n : sizeof(process.cpus));
	return 0;
}

int hook_pthread_setaffinity_np(pthread_t th, size_t size, const cpu_set_t *set)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_setaffinity_np)(th, size, set);
	if (gp->exited)
		return ESRCH;
	return set_affinity(gp, size, set);
}

int hook_pthread_getaffinity_np(pthread_t th, size_t size, cpu_set_t *set)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getaffinity_np)(th, size, set);
	if (gp->exited)
		return ESRCH;
	return get_affinity(gp, size, set);
}

/* The G with this tid; 0 is the caller. NULL: not one of ours, or the process as a whole. */
struct g *gmp_g_of_tid(int tid)
{
	struct g *gp = getg();

	if (!live())
		return NULL;
	if (tid == 0 || (gp != NULL && tid == gp->tid))
		return gp;
	for (gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL; gp = gp->alllink)
		if (gp->tid == tid && gp->status != G_IDLE && gp->status != G_DEAD)
			return gp;
	return NULL;
}

long gmp_kernel_tid(int tid)
{
	struct g *gp = tid > 0 ? gmp_g_of_tid(tid) : NULL;
	struct m *mp;

	if (gp == NULL)
		return tid;
	mp = gp->lockcnt > 0 ? gp->lockedm : NULL; /* NULL also while it is about to be locked */
	if (mp == NULL && gp == sched.maing)
		return tid;
	if (mp == NULL)
		mp = gp->m;
	if (mp != NULL)
		return mp->tid;
	/* Waiting, and nowhere in particular: any kernel thread without properties of its own. */
	for (mp = sched.allm; mp != NULL && (mp->tid == 0 || mp->props || mp->tainted); mp = mp->alllink)
		;
	return mp != NULL ? mp->tid : sched.m0->tid;
}

int hook_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set)
{
	struct g *gp = gmp_g_of_tid(tid);
	int rc;

	if (gp == NULL)
		return PASS(sched_setaffinity)(tid, size, set);
	rc = set_affinity(gp, size, set);
	return rc == 0 ? 0 : fail(rc);
}

int hook_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *set)
{
	struct g *gp = gmp_g_of_tid(tid);
	int rc;

	if (gp == NULL)
		return PASS(sched_getaffinity)(tid, size, set);
	rc = get_affinity(gp, size, set);
	return rc == 0 ? 0 : fail(rc);
}

/* --- policy and priority --- */

/* The kernel's verdict on policy, priority and permission, tried on the calling kernel thread and undone. An errno. */
static int try_sched(int policy, const struct sched_param *param)
{
	struct sched_param was;
	int was_policy, rc;

	gmp_enter();
	was_policy = (int)sys1(__NR_sched_getscheduler, 0);
	sys2(__NR_sched_getparam, 0, &was);
	rc = -(int)sys3(__NR_sched_setscheduler, 0, policy, param);
	if (rc == 0)
		sys3(__NR_sched_setscheduler, 0, was_policy, &was);
	gmp_leave();
	return rc;
}

static bool is_process_sched(int policy, const struct sched_param *param)
{
	return policy == process.policy && param->sched_priority == process.param.sched_priority;
}

/* SCHED_RESET_ON_FORK and the other policies have no say in wait queues. */
static uint8_t queue_prio(int policy, const struct sched_param *param)
{
	return policy == SCHED_FIFO || policy == SCHED_RR ? (uint8_t)param->sched_priority : 0;
}

static int set_sched(struct g *gp, int policy, const struct sched_param *param)
{
	struct props *pr = gp->props;
	int rc;

	/* what everybody has needs no M of its own */
	if (is_process_sched(policy, param) && !(pr != NULL && pr->set & P_SCHED))
		return 0;
	pr = get_props(gp);
	if (pr == NULL)
		return ENOMEM;
	if (gp != getg()) {
		rc = try_sched(policy, param);
		if (rc != 0)
			return rc;
	}
	pr->policy = policy;
	pr->param = *param;
	rc = changed(gp, pr, P_SCHED);
	if (rc != 0)
		pr->set &= ~(uint32_t)P_SCHED;
	else
		gp->prio = queue_prio(policy, param);
	return rc;
}

static int get_policy(struct g *gp, struct sched_param *param)
{
	struct props *pr = gp->props;

	if (pr != NULL && pr->set & P_SCHED) {
		*param = pr->param;
		return pr->policy;
	}
	*param = process.param;
	return process.policy;
}

/* --- creation --- */

int gmp_props_check(struct create_props *cp, bool policy_set, bool param_set)
{
	struct g *self = getg();
	struct sched_param param = process.param;
	int rc, policy = self != NULL ? get_policy(self, &param) : process.policy;

	if (cp->sched) {
		if (!policy_set)
			cp->policy = policy;
		if (!param_set)
			cp->param = param;
		rc = is_process_sched(cp->policy, &cp->param) ? 0 : try_sched(cp->policy, &cp->param);
		if (rc != 0)
			return rc;
	}
	return cp->affinity ? try_affinity(cp->cpus, sizeof(cp->cpus), cp->cpus) : 0;
}

int gmp_props_create(struct g *gp, const struct create_props *cp)
{
	struct g *self = getg();
	const struct props *mine = self != NULL ? self->props : NULL;
	struct props pr = {.set = mine != NULL ? mine->set : 0}, *theirs;

	if (mine != NULL)
		pr = *mine;
	if (cp->sched) {
		pr.policy = cp->policy;
		pr.param = cp->param;
		pr.set |= P_SCHED;
	}
	if (cp->affinity) {
		memcpy(pr.cpus, cp->cpus, sizeof(pr.cpus));
		pr.set |= P_AFFINITY;
	}
	if (pr.set & P_SCHED && is_process_sched(pr.policy, &pr.param))
		pr.set &= ~(uint32_t)P_SCHED;
	if (pr.set & P_AFFINITY && memcmp(pr.cpus, process.cpus, sizeof(pr.cpus)) == 0)
		pr.set &= ~(uint32_t)P_AFFINITY;
	theirs = get_props(gp);
	if (theirs == NULL)
		return EAGAIN;
	pr.set &= ~(uint32_t)P_BIND;
	if (pr.set == 0)
		return 0;
	if (pr.set & P_SCHED)
		gp->prio = queue_prio(pr.policy, &pr.param);
	pr.dirty = pr.set;
	pr.locked = false;
	pr.next = NULL;
	*theirs = pr;
	return 0;
}

void gmp_props_attr(struct g *gp, int *ret_policy, struct sched_param *ret_param, unsigned char cpus[128])
{
	*ret_policy = get_policy(gp, ret_param);
	memset(cpus, 0, 128);
	get_affinity(gp, 128, (cpu_set_t *)(void *)cpus);
}

int hook_pthread_setschedparam(pthread_t th, int policy, const struct sched_param *param)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_setschedparam)(th, policy, param);
	return gp->exited ? ESRCH : set_sched(gp, policy, param);
}

int hook_pthread_getschedparam(pthread_t th, int *policy, struct sched_param *param)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getschedparam)(th, policy, param);
	if (gp->exited)
		return ESRCH;
	*policy = get_policy(gp, param);
	return 0;
}

int hook_pthread_setschedprio(pthread_t th, int prio)
{
	struct g *gp;
	struct sched_param param;
	int policy;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_setschedprio)(th, prio);
	if (gp->exited)
		return ESRCH;
	policy = get_policy(gp, &param);
	param.sched_priority = prio;
	if (prio < real.sched_get_priority_min(policy) || prio > real.sched_get_priority_max(policy))
		return EINVAL;
	return set_sched(gp, policy, &param);
}

int hook_sched_setscheduler(pid_t tid, int policy, const struct sched_param *param)
{
	struct g *gp = gmp_g_of_tid(tid);
	int rc;

	if (gp == NULL || param == NULL)
		return PASS(sched_setscheduler)(tid, policy, param);
	rc = set_sched(gp, policy, param);
	return rc == 0 ? 0 : fail(rc);
}

int hook_sched_setparam(pid_t tid, const struct sched_param *param)
{
	struct g *gp = gmp_g_of_tid(tid);
	struct sched_param was;
	int rc;

	if (gp == NULL || param == NULL)
		return PASS(sched_setparam)(tid, param);
	rc = set_sched(gp, get_policy(gp, &was), param);
	return rc == 0 ? 0 : fail(rc);
}

int hook_sched_getscheduler(pid_t tid)
{
	struct g *gp = gmp_g_of_tid(tid);
	struct sched_param param;

	return gp == NULL ? PASS(sched_getscheduler)(tid) : get_policy(gp, &param);
}

int hook_sched_getparam(pid_t tid, struct sched_param *param)
{
	struct g *gp = gmp_g_of_tid(tid);

	if (gp == NULL || param == NULL)
		return PASS(sched_getparam)(tid, param);
	get_policy(gp, param);
	return 0;
}

/* In has: what the kernel knows of the kernel thread. It is all that the program asks for. */
static bool has_attr(long tid, const void *attr, struct attr *ret_has)
{
	struct attr want;

	memset(ret_has, 0, sizeof(*ret_has));
	if (sys4(__NR_sched_getattr, tid, ret_has, sizeof(*ret_has), 0) < 0 || !gmp_readable(attr, ATTR_SIZE_VER0))
		return false;
	memcpy(&want, attr, ATTR_SIZE_VER0);
	if (want.size < ATTR_SIZE_VER0 || want.size > ret_has->size || !gmp_readable(attr, want.size))
		return false;
	memcpy(&want, attr, want.size);
	return memcmp(&want.policy, &ret_has->policy, want.size - offsetof(struct attr, policy)) == 0;
}

/*
 * sched_setattr(2): the kernel's verdict on the kernel thread that the G has for itself. Policy, priority and nice are
 * noted as if set by their own functions. Who asks for what it has, as GLib does in each thread of a pool, needs no
 * kernel thread for that.
 */
long gmp_sched_setattr(int tid, const void *attr, unsigned flags)
{
	struct g *gp = gmp_g_of_tid(tid), *self = getg();
	struct attr has;
	struct props *pr;
	bool custom_slice;
	long rc;

	if (gp == NULL)
		return PASS(syscall)(SYS_sched_setattr, tid, attr, flags);
	if (has_attr(gp == self ? 0 : gmp_kernel_tid(gp->tid), attr, &has) && flags == 0)
		return 0;
	pr = get_props(gp);
	if (pr == NULL)
		return fail(ENOMEM);
	if (gp == self)
		changed(gp, pr, P_BIND);
	else if (gmp_props_bind(gp) == 0)
		return fail(ESRCH);
	tid = gp->lockedm->tid; /* for the rest of its life */
	rc = real.syscall(SYS_sched_setattr, tid, attr, flags);
	if (rc < 0)
		return rc;
	has_attr(tid, attr, &has);
	custom_slice = has.runtime != 0 && has.runtime != process.runtime;
	if (has.policy == POLICY_DEADLINE || custom_slice || ((const struct attr *)attr)->flags & ATTR_UTIL_CLAMP)
		gp->lockedm->tainted = true; /* nobody takes these back */
	if (has.policy == POLICY_DEADLINE)
		return rc; /* not inherited */
	pr->policy = (int)sys1(__NR_sched_getscheduler, tid);
	pr->param.sched_priority = (int)has.priority;
	pr->nice = 20 - (int)sys2(__NR_getpriority, PRIO_PROCESS, tid);
	pr->set |= P_SCHED | P_NICE;
	gp->prio = queue_prio(pr->policy, &pr->param);
	return rc;
}

/*
 * The main thread's nice value is a wish of the whole program: all Ms follow, also those that threads run on that
 * natively would keep their own. Threads that it creates later inherit it; each on an M of its own would be a high
 * price.
 */
static int set_process_nice(int prio)
{
	int rc = -(int)sys3(__NR_setpriority, PRIO_PROCESS, 0, prio);

	for (struct m *mp = rc == 0 ? sched.allm : NULL; mp != NULL; mp = mp->alllink)
		if (mp->tid != 0 && !mp->props)
			sys3(__NR_setpriority, PRIO_PROCESS, mp->tid, prio);
	if (rc == 0)
		process.nice = prio;
	return rc;
}

int hook_setpriority(__priority_which_t which, id_t who, int prio)
{
	struct g *gp = which == PRIO_PROCESS ? gmp_g_of_tid((int)who) : NULL;
	struct props *pr;
	int rc;

	if (gp == NULL)
		return PASS(setpriority)(which, who, prio);
	prio = prio < -20 ? -20 : prio > 19 ? 19 : prio;
	if (gp == sched.maing && !(gp->props != NULL && gp->m->props)) {
		rc = set_process_nice(prio);
		return rc == 0 ? 0 : fail(rc);
	}
	pr = get_props(gp);
	if (pr == NULL)
		return fail(ENOMEM);
	pr->nice = prio;
	rc = changed(gp, pr, P_NICE);
	if (rc != 0)
		pr->set &= ~(uint32_t)P_NICE;
	return rc == 0 ? 0 : fail(rc);
}

int hook_getpriority(__priority_which_t which, id_t who)
{
	struct g *gp = which == PRIO_PROCESS ? gmp_g_of_tid((int)who) : NULL;

	if (gp == NULL)
		return PASS(getpriority)(which, who);
	if (gp->props != NULL && ((struct props *)gp->props)->set & P_NICE)
		return ((struct props *)gp->props)->nice;
	return process.nice;
}

int hook_nice(int inc)
{
	int old_errno = errno, prio;

	if (!live() || getg() == NULL)
		return PASS(nice)(inc);
	prio = hook_getpriority(PRIO_PROCESS, 0) + inc;
	if (hook_setpriority(PRIO_PROCESS, 0, prio) != 0)
		return errno == EACCES ? fail(EPERM) : -1;
	errno = old_errno;
	return hook_getpriority(PRIO_PROCESS, 0);
}
