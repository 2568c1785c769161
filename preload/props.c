// SPDX-License-Identifier: MIT
/*
 * Properties of kernel threads that a program sets on a pthread: CPU affinity, scheduling policy and priority, nice.
 * A G that has one runs locked to its M for the rest of its life (Go: LockOSThread), and the M carries the property.
 * What another thread sets is recorded, and applied by the target itself at its next exit from the shim. Getters
 * answer what was set. When the G ends its M gets the process's own values back.
 */
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "preload/preload.h"

enum { P_AFFINITY = 1, P_SCHED = 2, P_NICE = 4 };

struct props { /* owned by its G; written under props_lock by others */
	uint32_t set;	/* P_* that were set */
	uint32_t dirty; /* not yet on the M */
	bool locked;
	int policy, nice;
	struct sched_param param;
	unsigned char cpus[128]; /* CPU_SETSIZE bits */
	int error;		 /* of the last application by the G itself, an errno */
	struct props *next;
};

static struct lock props_lock; /* rank SIG: core/HACKING.md */
static struct props *free_props;
static unsigned char process_cpus[128];

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
		pr->locked = true;
		gmp_lock_os_thread();
	}
	pr->error = 0;
	if (dirty & P_AFFINITY)
		pr->error = -(int)sys3(__NR_sched_setaffinity, gp->m->tid, sizeof(pr->cpus), pr->cpus);
	if (dirty & P_SCHED)
		pr->error = -(int)sys3(__NR_sched_setscheduler, gp->m->tid, pr->policy, &pr->param);
	if (dirty & P_NICE)
		pr->error = -(int)sys3(__NR_setpriority, PRIO_PROCESS, gp->m->tid, pr->nice);
}

/* The G is about to end: its M is an ordinary one again. */
void gmp_props_end(struct g *gp)
{
	struct props *pr = gp->props;
	struct sched_param zero = {0};

	if (pr == NULL)
		return;
	gp->props = NULL;
	if (pr->locked) {
		if (pr->set & P_AFFINITY)
			sys3(__NR_sched_setaffinity, gp->m->tid, sizeof(process_cpus), process_cpus);
		if (pr->set & P_SCHED)
			sys3(__NR_sched_setscheduler, gp->m->tid, SCHED_OTHER, &zero);
		if (pr->set & P_NICE)
			sys3(__NR_setpriority, PRIO_PROCESS, gp->m->tid, getpriority(PRIO_PROCESS, 0));
		gmp_unlock_os_thread();
	}
	gmp_enter();
	gmp_lock(&props_lock);
	pr->next = free_props;
	free_props = pr;
	gmp_unlock(&props_lock);
	gmp_leave();
}

void gmp_props_init(void)
{
	sys3(__NR_sched_getaffinity, 0, sizeof(process_cpus), process_cpus);
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

/* --- affinity --- */

/* What the kernel would say of the mask, tried on the calling kernel thread. An errno. */
static int try_affinity(const unsigned char *cpus, size_t size)
{
	unsigned char was[128];
	long rc;

	memset(was, 0, sizeof(was));
	gmp_enter();
	sys3(__NR_sched_getaffinity, 0, sizeof(was), was);
	rc = sys3(__NR_sched_setaffinity, 0, size, cpus);
	if (rc == 0)
		sys3(__NR_sched_setaffinity, 0, sizeof(was), was);
	gmp_leave();
	return (int)-rc;
}

static int set_affinity(struct g *gp, size_t size, const cpu_set_t *set)
{
	struct props *pr;
	int rc = try_affinity((const unsigned char *)set, size);

	if (rc != 0)
		return rc;
	pr = get_props(gp);
	if (pr == NULL)
		return ENOMEM;
	memset(pr->cpus, 0, sizeof(pr->cpus));
	memcpy(pr->cpus, set, size < sizeof(pr->cpus) ? size : sizeof(pr->cpus));
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
		memcpy(set, process_cpus, (size_t)n < sizeof(process_cpus) ? (size_t)n : sizeof(process_cpus));
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

	if (gp == NULL || gp == sched.maing)
		return tid;
	return gp->m != NULL ? gp->m->tid : sched.m0->tid; /* waiting: any kernel thread of the process */
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

static int set_sched(struct g *gp, int policy, const struct sched_param *param)
{
	struct props *pr = get_props(gp);
	int self_policy, rc;
	struct sched_param was;

	if (pr == NULL)
		return ENOMEM;
	/* NPTL's default for everybody needs no M of its own */
	if (policy == SCHED_OTHER && param->sched_priority == 0 && !(pr->set & P_SCHED))
		return 0;
	if (gp != getg()) {
		/* the kernel's verdict on policy, priority and permission, tried here and undone */
		gmp_enter();
		self_policy = (int)sys1(__NR_sched_getscheduler, 0);
		sys2(__NR_sched_getparam, 0, &was);
		rc = -(int)sys3(__NR_sched_setscheduler, 0, policy, param);
		if (rc == 0)
			sys3(__NR_sched_setscheduler, 0, self_policy, &was);
		gmp_leave();
		if (rc != 0)
			return rc;
	}
	pr->policy = policy;
	pr->param = *param;
	rc = changed(gp, pr, P_SCHED);
	if (rc != 0)
		pr->set &= ~(uint32_t)P_SCHED;
	return rc;
}

static int get_policy(struct g *gp, struct sched_param *param)
{
	struct props *pr = gp->props;

	if (pr != NULL && pr->set & P_SCHED) {
		*param = pr->param;
		return pr->policy;
	}
	param->sched_priority = 0;
	return SCHED_OTHER;
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

	if (gp == NULL)
		return PASS(sched_setscheduler)(tid, policy, param);
	rc = set_sched(gp, policy, param);
	return rc == 0 ? 0 : fail(rc);
}

int hook_sched_setparam(pid_t tid, const struct sched_param *param)
{
	struct g *gp = gmp_g_of_tid(tid);
	struct sched_param was;
	int rc;

	if (gp == NULL)
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

	if (gp == NULL)
		return PASS(sched_getparam)(tid, param);
	get_policy(gp, param);
	return 0;
}

/*
 * The clock of the kernel thread that runs the G, or ran it last: there is none of a single G.
 * CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED of the kernel's posix-timers.h, in glibc's encoding.
 */
int hook_pthread_getcpuclockid(pthread_t th, clockid_t *clock)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getcpuclockid)(th, clock);
	if (gp->exited)
		return ESRCH;
	*clock = gp == getg() ? CLOCK_THREAD_CPUTIME_ID
			      : (clockid_t)(~(unsigned)(gp->m != NULL ? gp->m->tid : sched.m0->tid) << 3 | 6);
	return 0;
}

int hook_setpriority(__priority_which_t which, id_t who, int prio)
{
	struct g *gp = which == PRIO_PROCESS ? gmp_g_of_tid((int)who) : NULL;
	struct props *pr;
	int rc;

	/* the main thread's nice value is an ordinary wish of the whole program: all Ms follow it */
	if (gp == NULL || gp == sched.maing)
		return PASS(setpriority)(which, who, prio);
	pr = get_props(gp);
	if (pr == NULL)
		return fail(ENOMEM);
	pr->nice = prio;
	rc = changed(gp, pr, P_NICE);
	return rc == 0 ? 0 : fail(rc);
}

int hook_getpriority(__priority_which_t which, id_t who)
{
	struct g *gp = which == PRIO_PROCESS ? gmp_g_of_tid((int)who) : NULL;

	if (gp == NULL || gp == sched.maing)
		return PASS(getpriority)(which, who);
	if (gp->props != NULL && ((struct props *)gp->props)->set & P_NICE)
		return ((struct props *)gp->props)->nice;
	return real.getpriority(which, 0);
}
