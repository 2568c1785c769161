// SPDX-License-Identifier: MIT
/*
 * How many CPUs this process may use: its affinity mask, capped by the CPU quota of its cgroup (v2 and v1). And whether
 * the system calls that the scheduler rests on may be made.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>

#include "core/gmp.h"
#include "core/osinit.h"

/* A small file as a string; its length, or -errno. */
static int read_file(const char *path, char *buf, size_t size)
{
	int fd = (int)sys4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return fd;
	n = (int)sys3(__NR_read, fd, buf, size - 1);
	sys1(__NR_close, fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

static int64_t number(const char **s)
{
	int64_t v = -1;

	while (**s == ' ')
		++*s;
	if (**s >= '0' && **s <= '9')
		for (v = 0; **s >= '0' && **s <= '9' && v < INT32_MAX; ++*s)
			v = v * 10 + (**s - '0');
	return v;
}

static size_t append(char *to, size_t at, size_t size, const char *s, char until)
{
	while (*s != '\0' && *s != until && at + 1 < size)
		to[at++] = *s++;
	to[at] = '\0';
	return at;
}

static const char *field3(const char *line, bool *ret_v2, bool *ret_cpu)
{
	const char *p = line;

	while (*p != ':' && *p != '\0')
		p++;
	*ret_v2 = p[0] == ':' && p[1] == ':';
	*ret_cpu = false;
	for (p += *p == ':'; *p != ':' && *p != '\0'; p++)
		if ((p[-1] == ':' || p[-1] == ',') && p[0] == 'c' && p[1] == 'p' && p[2] == 'u' &&
		    (p[3] == ',' || p[3] == ':'))
			*ret_cpu = true;
	return *p == ':' ? p + 1 : NULL;
}

/* quota/period in whole CPUs, rounded up; 0 = no limit. */
static int quota(const char *dir, const char *path, bool v2)
{
	char name[512], text[64];
	const char *s = text;
	int64_t q, period = 100000;
	size_t n = append(name, 0, sizeof(name), dir, '\0');

	if (!(path[0] == '/' && (path[1] == '\n' || path[1] == '\0')))
		n = append(name, n, sizeof(name), path, '\n');
	append(name, n, sizeof(name), v2 ? "/cpu.max" : "/cpu.cfs_quota_us", '\0');
	if (read_file(name, text, sizeof(text)) <= 0)
		return 0;
	q = number(&s); /* "max", "-1": none */
	if (v2) {
		period = number(&s);
	} else {
		append(name, n, sizeof(name), "/cpu.cfs_period_us", '\0');
		s = text;
		if (read_file(name, text, sizeof(text)) > 0)
			period = number(&s);
	}
	return q <= 0 || period <= 0 ? 0 : (int)((q + period - 1) / period);
}

static int cgroup_cpus(void)
{
	char buf[4096];
	int best = 0;

	if (read_file("/proc/self/cgroup", buf, sizeof(buf)) <= 0)
		return 0;
	for (const char *line = buf; *line != '\0';) {
		bool v2, cpu;
		const char *path = field3(line, &v2, &cpu);
		int n = 0;

		if (path != NULL && v2)
			n = quota("/sys/fs/cgroup", path, true);
		else if (path != NULL && cpu) {
			n = quota("/sys/fs/cgroup/cpu", path, false);
			if (n == 0) /* a container sees its own group as the root */
				n = quota("/sys/fs/cgroup/cpu", "/", false);
		}
		if (n > 0 && (best == 0 || n < best))
			best = n;
		while (*line != '\0' && *line++ != '\n')
			;
	}
	return best;
}

void gmp_osinit(unsigned long hwcap2, size_t page_size, bool want_quota)
{
	uint64_t mask[64] = {0}; /* up to 4096 CPUs */
	long n = sys3(__NR_sched_getaffinity, 0, sizeof(mask), mask);
	int cpus = 0, limit;

	arch_init(hwcap2);
	sched.page_size = page_size;
	for (long i = 0; i < n / 8; i++)
		for (uint64_t m = mask[i]; m != 0; m &= m - 1)
			cpus++;
	if (cpus < 1)
		cpus = 1;
	limit = want_quota ? cgroup_cpus() : 0;
	if (limit > 0 && limit < cpus)
		cpus = limit;
	sched.ncpu = cpus > GMP_MAXPROCS ? GMP_MAXPROCS : cpus;
}

/*
 * Asked in a way that changes nothing: what takes a descriptor or flags gets -1. A sandbox answers with any errno, most
 * often EPERM or ENOSYS.
 */
const char *gmp_osrefuses(void)
{
	static const struct {
		const char *name;
		int nr;
	} calls[] = {{"epoll_create1", __NR_epoll_create1}, {"eventfd2", __NR_eventfd2}, {"epoll_ctl", __NR_epoll_ctl},
		     {"epoll_pwait", __NR_epoll_pwait}, {"recvfrom", __NR_recvfrom}, {"sendto", __NR_sendto},
		     {"sendmsg", __NR_sendmsg}};
	static const uint64_t none;
	static const struct __kernel_timespec now;
	siginfo_t info = {.si_code = SI_QUEUE};
	int pid = sys_getpid(), tid = sys_gettid();
	long rc = sys3(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (rc < 0 || !(rc & MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return "membarrier"; /* two Ms could come to own one P */
	if (sys3(__NR_tgkill, pid, tid, 0) < 0)
		return "tgkill"; /* preemption, cancellation */
	if (sys4(__NR_rt_tgsigqueueinfo, pid, tid, 0, &info) < 0)
		return "rt_tgsigqueueinfo"; /* tokens */
	if (sys4(__NR_rt_sigtimedwait, &none, NULL, &now, sizeof(none)) != -EAGAIN)
		return "rt_sigtimedwait";
	if (sys2(__NR_sigaltstack, NULL, NULL) < 0)
		return "sigaltstack"; /* the Ms' signal stacks */
	if (gmp_thread_cpu(tid) < 0)
		return "clock_gettime"; /* sysmon would find no G that computes, and no M that sleeps */
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		rc = sys6(calls[i].nr, -1, -1, -1, 0, 0, 0);
		if (rc != -EBADF && rc != -EINVAL && rc != -EFAULT)
			return calls[i].name;
	}
	return NULL;
}

/* A decimal number in [1, max] and nothing else; 0 when it is not. */
int64_t gmp_parse_number(const char *s, int64_t max)
{
	int64_t v = *s >= '0' && *s <= '9' ? number(&s) : -1;

	return *s == '\0' && v >= 1 && v <= max ? v : 0;
}

int gmp_parse_procs(const char *s)
{
	return (int)gmp_parse_number(s, GMP_MAXPROCS);
}
