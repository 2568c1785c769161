#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gmprun compare: one server and one load, on NPTL and under the shim in turns.

Each round starts the server afresh, waits until it listens, runs the load, and samples the server meanwhile. The table
at the end shows medians and the spread of the rounds; the report (HTML, one file) has the same and plots over time.
Whatever ends this, no process that it started is left.
"""
import argparse
import ctypes
import html
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import gmplook
import gmpplot

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SAMPLE_S = 0.2
SETTLE_S = 0.3  # no new listening socket for this long: the server is up
WHO = ('NPTL', 'shim')
libc = ctypes.CDLL(None)


class Failed(Exception):
    """The server, the load or a check went wrong."""


def expect(ok, message):
    if not ok:
        raise Failed(message)


def ended(status):
    """How a process ended, for after its name."""
    if status is not None and status < 0:
        return f'was ended by {signal.Signals(-status).name if -status in set(signal.Signals) else -status}'
    return f'ended with status {status}'


def read(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def children_of(pids):
    """All processes below those in pids, these included."""
    parents = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                parents[int(name)] = int(read(f'/proc/{name}/stat').rpartition(')')[2].split()[1])
            except (OSError, IndexError, ValueError):
                pass
    found, more = set(pids), True
    while more:
        more = {p for p, parent in parents.items() if parent in found and p not in found}
        found |= more
    return found


class Children:
    """Every process started here, and what those start, daemons too: we are the reaper of orphans."""

    def __init__(self):
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.running = []

    def start(self, command, log, env=None):
        try:
            with open(log, 'ab') as out:
                child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                         start_new_session=True,
                                         preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        except OSError as e:
            raise Failed(f'{command[0]}: {e.strerror}') from None
        self.running.append(child)
        return child

    def run(self, command, log, timeout_s, name=None):
        name = name or command[0]
        child = self.start(command, log)
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f'{name} took more than {timeout_s} s') from None
        expect(status == 0, f'{name} {ended(status)}')

    def kill_all(self):
        for _ in range(100):
            left = children_of([os.getpid()]) - {os.getpid()}
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                while os.waitpid(-1, os.WNOHANG)[0] != 0:
                    pass
            except ChildProcessError:
                break
            time.sleep(0.02)


# --- the load's report ---

def to_ms(text):
    value, unit = re.match(r'([\d.]+)(us|ms|s|m)?', text).groups()
    return float(value) * {'us': 0.001, 'ms': 1, 's': 1000, 'm': 60000, None: 1}[unit]


def parse_wrk(text):
    found = re.search(r'^Requests/sec:\s+([\d.]+)', text, re.M)
    if not found:
        return None
    r = {'rate': float(found[1])}
    total = re.search(r'^\s*(\d+) requests in ', text, re.M)
    if total:
        r['requests'] = int(total[1])
    for key, percent in (('p50', '50'), ('p99', '99')):
        found = re.search(rf'^\s+{percent}(?:\.\d+)?%\s+([\d.]+\w+)', text, re.M)
        if found:
            r[key] = to_ms(found[1])
    found = re.search(r'^\s+Latency\s+([\d.]+\w+)', text, re.M)
    if found:
        r['mean'] = to_ms(found[1])
    errors = re.search(r'Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)', text)
    bad = re.search(r'Non-2xx or 3xx responses: (\d+)', text)
    r['errors'] = sum(map(int, errors.groups())) if errors else 0
    r['errors'] += int(bad[1]) if bad else 0
    return r


def parse_ab(text):
    found = re.search(r'^Requests per second:\s+([\d.]+)', text, re.M)
    if not found:
        return None
    r = {'rate': float(found[1]), 'errors': int(re.search(r'^Failed requests:\s+(\d+)', text, re.M)[1]),
         'requests': int(re.search(r'^Complete requests:\s+(\d+)', text, re.M)[1])}
    for key, percent in (('p50', '50'), ('p99', '99')):
        found = re.search(rf'^\s+{percent}%\s+(\d+)', text, re.M)
        if found:
            r[key] = float(found[1])
    return r


def histogram(text, percent):
    """sysbench --histogram: the upper end of the bucket that holds the percentile."""
    buckets = [(float(ms), int(n)) for ms, n in re.findall(r'^ *([\d.]+) \|\**\s+(\d+)$', text, re.M)]
    left = sum(n for _, n in buckets) * percent / 100
    for value, n in buckets:
        left -= n
        if left <= 0:
            return value
    return None


def parse_sysbench(text):
    found = (re.search(r'^\s*queries:\s+(\d+)\s+\(([\d.]+) per sec', text, re.M) or
             re.search(r'^\s*transactions:\s+(\d+)\s+\(([\d.]+) per sec', text, re.M))
    if not found:
        found = re.search(r'events per second:\s+([\d.]+)', text)
        return {'rate': float(found[1])} if found else None
    r = {'requests': int(found[1]), 'rate': float(found[2])}
    errors = re.findall(r'^\s*(?:ignored errors|reconnects):\s+(\d+)', text, re.M)
    r['errors'] = sum(map(int, errors))
    found = re.search(r'^\s*avg:\s+([\d.]+)', text, re.M)
    if found:
        r['mean'] = float(found[1])
    p50, p99 = histogram(text, 50), histogram(text, 99)
    found = re.search(r'^\s*99th percentile:\s+([\d.]+)', text, re.M)
    if p50 is not None:
        r['p50'], r['p99'] = p50, p99
    elif found:
        r['p99'] = float(found[1])
    return r


def parse_redis(text):
    rates = [float(x) for x in re.findall(r'([\d.]+) requests per second', text)]
    rates += [float(x) for x in re.findall(r'^"[^"]+","([\d.]+)"', text, re.M)]  # --csv
    if not rates:
        return None
    r = {'rate': statistics.mean(rates)}  # of its tests, which run one after the other
    p50 = [float(x) for x in re.findall(r'p50=([\d.]+) msec', text)]
    summary = re.findall(r'latency summary \(msec\):\s*\n[^\n]*\n\s*([\d. ]+)\n', text)
    if summary:
        values = [list(map(float, s.split())) for s in summary]  # avg min p50 p95 p99 max
        r['p50'], r['p99'] = (statistics.mean(v[i] for v in values) for i in (2, 4))
    elif p50:
        r['p50'] = statistics.mean(p50)
    return r


def parse_hey(text):
    found = re.search(r'^\s+Requests/sec:\s+([\d.]+)', text, re.M)
    if not found or 'Status code distribution' not in text and 'Error distribution' not in text:
        return None
    r = {'rate': float(found[1])}
    found = re.search(r'^\s+Average:\s+([\d.]+) secs', text, re.M)
    if found:
        r['mean'] = float(found[1]) * 1000
    for key, percent in (('p50', '50'), ('p99', '99')):
        found = re.search(rf'^\s+{percent}%+ in ([\d.]+) secs', text, re.M)
        if found:
            r[key] = float(found[1]) * 1000
    answers = re.findall(r'^\s+\[(\d+)\]\s+(\d+) responses', text, re.M)
    r['requests'] = sum(int(n) for _, n in answers)
    r['errors'] = sum(int(n) for code, n in answers if code[0] not in '23')
    r['errors'] += sum(map(int, re.findall(r'^\s+\[(\d+)\]\s', text.partition('Error distribution:')[2], re.M)))
    return r


def parse_mcperf(text):
    found = re.search(r'^Response rate: ([\d.]+) rsp/s', text, re.M)
    if not found:
        return None
    r = {'rate': float(found[1])}
    found = re.search(r'^Total: .*\bresponses (\d+)', text, re.M)
    if found:
        r['requests'] = int(found[1])
    found = re.search(r'^Response time \[ms\]: avg ([\d.]+)', text, re.M)
    if found:
        r['mean'] = float(found[1])
    for key in ('p50', 'p99'):
        found = re.search(rf'^Response time \[ms\]:.*\b{key} ([\d.]+)', text, re.M)
        if found:
            r[key] = float(found[1])
    found = re.search(r'^Errors: total (\d+)', text, re.M)
    r['errors'] = int(found[1]) if found else 0
    return r


def parse_memtier(text):
    found = re.search(r'^Totals\s+([\d.]+.*)$', text, re.M)
    if not found:
        return None
    cells = found[1].split()
    r = {'rate': float(cells[0])}
    head = re.search(r'^Type\s+Ops/sec.*$', text, re.M)
    titles = re.split(r'\s{2,}', head[0].strip())[1:] if head else []
    for key, title in (('mean', 'Avg. Latency'), ('p50', 'p50 Latency'), ('p99', 'p99 Latency')):
        if title in titles and titles.index(title) < len(cells):
            r[key] = float(cells[titles.index(title)])
    return r


def parse_memcached(text):
    """memaslap and mutilate."""
    found = re.search(r'Run time: [\d.]+s Ops: (\d+) TPS: (\d+)', text)
    if found:
        return {'requests': int(found[1]), 'rate': float(found[2])}
    found = re.search(r'^Total QPS = ([\d.]+) \((\d+)', text, re.M)
    if not found:
        return None
    r = {'requests': int(found[2]), 'rate': float(found[1])}
    found = re.search(r'^read\s+([\d.]+)\s.*\s([\d.]+)$', text, re.M)  # avg ... 99th, us
    if found:
        r.update(mean=float(found[1]) / 1000, p99=float(found[2]) / 1000)
    return r


def parse_memcslap(text):
    found = re.findall(r'^Time to [sg]et\s+(\d+) keys by\s+\d+ threads:\s+([\d.]+) seconds', text, re.M)
    requests, seconds = sum(int(n) for n, _ in found), sum(float(s) for _, s in found)
    return {'requests': requests, 'rate': requests / seconds} if seconds > 0 else None


def parse_siege(text):
    """Its JSON, or what older ones say."""
    text = re.sub(r'"(\w+)":', lambda m: m[1].replace('_', ' ').capitalize() + ':', text)
    found = re.search(r'^\s*Transaction rate:\s+([\d.]+)', text, re.M)
    if not found:
        return None
    r = {'rate': float(found[1])}
    for key, title in (('requests', 'Transactions'), ('errors', 'Failed transactions')):
        found = re.search(rf'^[{{\s]*{title}:\s+(\d+)', text, re.M)
        if found:
            r[key] = int(found[1])
    return r


def parse_number(text):
    """A plain number in a line of its own, the last one: more is better."""
    numbers = re.findall(r'^\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*$', text, re.M)
    return {'rate': float(numbers[-1])} if numbers else None


PARSERS = (parse_wrk, parse_ab, parse_hey, parse_sysbench, parse_memcached, parse_mcperf, parse_memtier, parse_redis,
           parse_memcslap, parse_siege, parse_number)


def parse_load(text):
    for parser in PARSERS:
        result = parser(text)
        if result is not None:
            expect(not result.get('errors'), f'the load saw {result.get("errors")} errors:\n{text[-600:]}')
            return result
    raise Failed('no result in the output of the load; known are wrk, ab, hey, siege, sysbench, redis-benchmark, '
                 'memaslap, memcslap, mcperf, mutilate, memtier_benchmark and a plain number in the last line:\n' +
                 text[-600:])


# --- the server ---

def listening(pids):
    """What the processes listen on: TCP ports, or names of Unix sockets."""
    inodes, found = set(), set()
    for pid in pids:
        try:
            for fd in os.listdir(f'/proc/{pid}/fd'):
                target = os.readlink(f'/proc/{pid}/fd/{fd}')
                if target.startswith('socket:['):
                    inodes.add(target[8:-1])
        except OSError:
            continue
    for pid in list(pids)[:1]:
        for name in ('tcp', 'tcp6', 'unix'):
            try:
                lines = read(f'/proc/{pid}/net/{name}').splitlines()[1:]
            except OSError:
                continue
            for words in map(str.split, lines):
                if name == 'unix' and len(words) > 7 and words[3] == '00010000' and words[6] in inodes:
                    found.add(words[7])
                elif name != 'unix' and words[3] == '0A' and words[9] in inodes:
                    found.add(int(words[1].rpartition(':')[2], 16))
    return found


def wait_until_listens(server, timeout_s):
    deadline = time.monotonic() + timeout_s
    seen, since = set(), 0
    while time.monotonic() < deadline:
        if server.poll() is not None:
            left = children_of([os.getpid()]) - {os.getpid()}
            expect(not left, 'the server went into the background: it needs its option for the foreground')
            raise Failed(f'the server {ended(server.poll())} before it listened')
        now = listening(children_of([server.pid]))
        if now != seen:
            seen, since = now, time.monotonic()
        if seen and time.monotonic() - since >= SETTLE_S:
            return seen
        time.sleep(0.05)
    raise Failed(f'the server did not listen within {timeout_s:g} s')


class Observer:
    """What can be seen of the server's processes from outside."""

    def __init__(self, server):
        self.server = server
        # as last seen: what ended tasks and processes have used stays in the sum
        self.last = {}  # task -> context switches
        self.used = {}  # process -> CPU seconds
        self.peak = {'threads': 0, 'rss': 0, 'gs': 0, 'pss': 0}
        self.samples = []
        self.begin = time.monotonic()
        self.targets = {}
        self.known = children_of([self.server.pid])  # looked for anew in slow samples only: it reads all of /proc

    def pids(self):
        return self.known

    def cpu(self):
        for pid in self.pids():
            try:  # the clock that clock_getcpuclockid(3) names, in nanoseconds; /proc/PID/stat has ticks of 10 ms
                self.used[pid] = time.clock_gettime(~pid << 3 | 2)
            except OSError:
                pass
        return sum(self.used.values())

    def switches(self, pid):
        for task in os.listdir(f'/proc/{pid}/task'):
            try:
                text = read(f'/proc/{pid}/task/{task}/status')
            except OSError:
                continue
            self.last[task] = sum(map(int, re.findall(r'ctxt_switches:\s+(\d+)', text)))

    def count_gs(self, pid):
        """Threads of the program: from the library's table when it is there, else kernel threads."""
        if pid not in self.targets:
            try:
                self.targets[pid] = gmplook.Process(pid)
            except gmplook.NoShim:
                self.targets[pid] = None
        target = self.targets[pid]
        try:
            return target.sched('sched.nlive') if target else 0
        except gmplook.NoShim:
            return 0

    def sample(self, slow=False):
        threads = rss = gs = pss = 0
        if slow:
            self.known = children_of([self.server.pid])
        for pid in self.pids():
            try:
                status = read(f'/proc/{pid}/status')
                threads += int(re.search(r'^Threads:\s+(\d+)', status, re.M)[1])
                rss += int(re.search(r'^VmRSS:\s+(\d+)', status, re.M)[1]) / 1024
                gs += self.count_gs(pid)
                if slow:
                    self.switches(pid)
                    pss += int(re.search(r'^Pss:\s+(\d+)', read(f'/proc/{pid}/smaps_rollup'), re.M)[1]) / 1024
            except (OSError, TypeError):
                continue
        one = {'t': time.monotonic() - self.begin, 'cpu': self.cpu(), 'threads': threads, 'rss': rss,
               'gs': gs or threads, 'switches': sum(self.last.values())}
        for key in ('threads', 'rss', 'gs'):
            self.peak[key] = max(self.peak[key], one[key])
        self.peak['pss'] = max(self.peak['pss'], pss)
        self.samples.append(one)

    def shimmed(self, library):
        for pid in self.pids():
            try:
                if library in read(f'/proc/{pid}/maps'):
                    return True
            except OSError:
                pass
        return False

    def close(self):
        for target in self.targets.values():
            if target:
                target.close()


# --- rounds ---

class Plan:
    """What to run. before, during and after are called with no argument while the server is up."""

    def __init__(self, shim, server, load, **options):
        self.shim, self.server, self.load = shim, server, load
        self.rounds, self.procs, self.timeout, self.stop = 3, len(os.sched_getaffinity(0)), 600, signal.SIGTERM
        self.title = shlex.join(server)
        self.before = self.during = self.after = None
        self.parse, self.status = parse_load, (0, -signal.SIGTERM)
        self.ready_s = 60
        for name, value in options.items():
            setattr(self, name, value)

    def load_command(self, listens):
        ports = sorted(x for x in listens if isinstance(x, int))
        if isinstance(self.load, str):
            text = self.load
            if '{port}' in text:
                expect(ports, 'the load wants {port}, but the server listens on no TCP port')
                text = text.replace('{port}', str(ports[0]))
            return ['/bin/sh', '-c', text]
        return self.load

    def env(self, who):
        env = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'GOMAXPROCS')}
        if who == 'shim':
            env.update(LD_PRELOAD=self.shim, GOMAXPROCS=str(self.procs))
        return env


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K' + text)
        sys.stderr.flush()


def stop_server(plan, server):
    expect(server.poll() is None, f'the server {ended(server.poll())} too early')
    server.send_signal(plan.stop)
    try:
        status = server.wait(60)
    except subprocess.TimeoutExpired:
        raise Failed('the server was still there 60 s after its stop signal') from None
    expect(status in plan.status, f'the server {ended(status)} after its stop signal')


def one_round(plan, who, label, children, log, work):
    server = children.start(plan.server, log, plan.env(who))
    listens = wait_until_listens(server, plan.ready_s)
    if plan.before:
        plan.before()
    seen = Observer(server)
    seen.sample(slow=True)
    report = f'{work}/load.out'
    if os.path.exists(report):
        os.unlink(report)
    load = children.start(plan.load_command(listens), report, plan.env('NPTL'))
    begin, checked, last_slow = time.monotonic(), False, time.monotonic()
    while load.poll() is None:
        passed = time.monotonic() - begin
        expect(passed < plan.timeout, f'the load did not end within {plan.timeout} s')
        expect(server.poll() is None, f'the server {ended(server.poll())} under load')
        slow = time.monotonic() - last_slow > 1
        seen.sample(slow)
        if slow:
            last_slow = time.monotonic()
        now = seen.samples[-1]
        progress(f'{label}: {passed:5.1f} s  {now["threads"]} kernel threads  {now["gs"]} threads  '
                 f'{now["rss"]:.0f} MB  {now["cpu"] - seen.samples[0]["cpu"]:.1f} s CPU')
        if plan.during and not checked and passed > 2:
            checked = True
            plan.during()
        try:
            load.wait(SAMPLE_S)
        except subprocess.TimeoutExpired:
            pass
    expect(server.poll() is None, f'the server {ended(server.poll())} under load')
    seen.sample(slow=True)
    wall = time.monotonic() - begin
    text = read(report)
    expect(load.returncode == 0, f'the load {ended(load.returncode)}:\n{text[-600:]}'.rstrip(':\n'))
    row = plan.parse(text)
    first, last = seen.samples[0], seen.samples[-1]
    requests = row.get('requests') or row['rate'] * wall
    expect(requests > 0, 'no request was answered')
    row.update(cpu_s=last['cpu'] - first['cpu'], cpu=(last['cpu'] - first['cpu']) * 1e6 / requests,
               switches=(last['switches'] - first['switches']) / wall, wall=wall, samples=seen.samples, **{
                   k: seen.peak[k] for k in ('rss', 'pss', 'threads', 'gs')}, mapped=seen.shimmed(plan.shim))
    if plan.after:
        plan.after()
    stop_server(plan, server)
    seen.close()
    progress('')
    return row


def run(plan, children, log, work):
    """All rounds; {who: [row]}."""
    rows = {who: [] for who in WHO}
    for n in range(plan.rounds):
        for who in WHO if n % 2 == 0 else WHO[::-1]:
            row = one_round(plan, who, f'round {n + 1} of {plan.rounds}, {who}', children, log, work)
            expect(row['mapped'] == (who == 'shim'),
                   'the library is not loaded in the server (gmprun --check tells why)' if who == 'shim' else
                   'the library is loaded in the server of the NPTL round')
            rows[who].append(row)
            print(f'round {n + 1} {who}: {row["rate"]:.0f}/s, {row["cpu"]:.1f} us CPU each, {row["threads"]} kernel '
                  f'threads, {row["rss"]:.0f} MB', flush=True)
    return rows


# --- the result ---

# title, key, format, is more better (None: neither)
ROWS = (('results per second', 'rate', '.0f', True), ('p50 latency, ms', 'p50', '.2f', False),
        ('p99 latency, ms', 'p99', '.2f', False), ('mean latency, ms', 'mean', '.2f', False),
        ('server CPU per result, us', 'cpu', '.1f', False), ('server CPU, s', 'cpu_s', '.2f', None),
        ('peak RSS, MB', 'rss', '.1f', False), ('PSS under load, MB', 'pss', '.1f', False),
        ('kernel threads, peak', 'threads', '.0f', None), ('threads of the program, peak', 'gs', '.0f', None),
        ('context switches per second', 'switches', '.0f', None))


def values(rows, who, key):
    return [r[key] for r in rows[who] if r.get(key) is not None]


def table(rows):
    """[(title, NPTL (median, least, most), shim (...), ratio or None, format)]"""
    result = []
    for title, key, form, _ in ROWS:
        pair = [values(rows, who, key) for who in WHO]
        if all(pair):
            cells = [(statistics.median(v), min(v), max(v)) for v in pair]
            ratio = cells[1][0] / cells[0][0] if cells[0][0] else None
            result.append((title, *cells, ratio, form))
    return result


def apart(rows, key):
    """The rounds of the two do not overlap; a single one each says nothing of their spread."""
    nptl, shim = (values(rows, who, key) for who in WHO)
    return len(nptl) > 1 and (max(nptl) < min(shim) or max(shim) < min(nptl))


def sentence(rows):
    def compare(key, more, less):
        nptl, shim = (statistics.median(values(rows, who, key)) for who in WHO)
        if not apart(rows, key):
            return None
        percent = abs(shim / nptl - 1) * 100
        return f'{percent:.0f} % {more if shim > nptl else less}'

    rate, cpu = compare('rate', 'more', 'fewer'), compare('cpu', 'more', 'less')
    threads = [statistics.median(values(rows, who, 'threads')) for who in WHO]
    if rate is None:
        text = ('No difference in results per second can be told: ' +
                ('one round says nothing' if len(rows['NPTL']) == 1 else 'the rounds of the two overlap'))
    else:
        better = statistics.median(values(rows, 'shim', 'rate')) > statistics.median(values(rows, 'NPTL', 'rate'))
        text = f'{"The shim" if better else "NPTL"} is better: the shim gave {rate} results per second than NPTL'
    text += f', for {cpu} CPU each' if cpu else ', for about the same CPU each'
    return text + f', on {threads[1]:.0f} kernel threads instead of {threads[0]:.0f}.'


def print_table(rows, out=sys.stdout):
    def cell(c, form):
        return f'{c[0]:{form}} ({c[1]:{form}}..{c[2]:{form}})'

    print(f'\n{"median (least..most)":<30}{"NPTL":>28}{"shim":>28}{"shim/NPTL":>11}', file=out)
    for title, nptl, shim, ratio, form in table(rows):
        times = f'{ratio:.2f}x' if ratio is not None else ''
        print(f'{title:<30}{cell(nptl, form):>28}{cell(shim, form):>28}{times:>11}', file=out)
    print(f'\n{sentence(rows)}', file=out)


PLOTS = (('CPU, cores', 'cpu', True), ('RSS, MB', 'rss', False), ('kernel threads', 'threads', False),
         ('threads of the program', 'gs', False), ('context switches per second', 'switches', True))


def series(samples, key, rate):
    if not rate:
        return [(s['t'], s[key]) for s in samples]
    points = []
    for a, b in zip(samples, samples[1:]):
        if b['t'] - a['t'] > 0.05 and (key != 'switches' or b[key] != a[key]):
            points.append((b['t'], (b[key] - a[key]) / (b['t'] - a['t'])))
    if key == 'switches':  # these are sampled more rarely than the rest
        points, last = [], samples[0]
        for s in samples[1:]:
            if s[key] != last[key]:
                points.append((s['t'], (s[key] - last[key]) / (s['t'] - last['t'])))
                last = s
    return points


def plots(rows):
    rounds = [(f'{who} {n}', r['rate'], who) for who in WHO for n, r in enumerate(rows[who], 1)]
    return [gmpplot.bars('results per second, each round', rounds)] + [
        gmpplot.lines(title, [(who, series(r['samples'], key, rate)) for who in WHO for r in rows[who]])
        for title, key, rate in PLOTS]


def html_report(plan, rows):
    load = plan.load if isinstance(plan.load, str) else shlex.join(plan.load)
    cells = []
    for title, nptl, shim, ratio, form in table(rows):
        cells.append([title] + [f'{c[0]:{form}} ({c[1]:{form}}..{c[2]:{form}})' for c in (nptl, shim)] +
                     ['' if ratio is None else f'{ratio:.2f}x'])
    return gmpplot.page('gmprun compare', [
        f'<h1>{html.escape(plan.title)}</h1><p><b>{html.escape(sentence(rows))}</b></p>',
        f'<p>{plan.rounds} rounds each, in turns; GOMAXPROCS={plan.procs}; {os.cpu_count()} CPUs, '
        f'Linux {os.uname().release}; load: <code>{html.escape(load)}</code></p>',
        gmpplot.table(('median (least..most)', 'NPTL', 'shim', 'shim/NPTL'), cells), gmpplot.legend(WHO), *plots(rows)])


def write_reports(plan, rows, html_path, json_path, svg_path=None):
    if html_path:
        with open(html_path, 'w', encoding='utf-8') as f:
            f.write(html_report(plan, rows))
        print(f'report: {html_path}')
    if svg_path:
        with open(svg_path, 'w', encoding='utf-8') as f:
            f.write(gmpplot.picture(plots(rows)))
    if json_path:
        with open(json_path, 'w', encoding='utf-8') as f:
            json.dump({'server': plan.server, 'load': plan.load, 'rounds': rows}, f)


# --- the command ---

def wrong(message):
    print(f'gmprun compare: {message}\n{USAGE}', file=sys.stderr)
    sys.exit(2)


USAGE = ("usage: gmprun compare --load 'COMMAND' [--rounds N] [--procs N] [--html FILE] [--json FILE] [--svg FILE]\n"
         "                      [--ready SECONDS] [--timeout SECONDS] [--check 'COMMAND'] [--stop SIGNAL]\n"
         '                      -- SERVER [ARGUMENT...]')


class Parser(argparse.ArgumentParser):
    def error(self, message):
        wrong(message)


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError('must be at least 1')
    return value


def signal_number(text):
    try:
        return int(text) if text.isdigit() else signal.Signals['SIG' + text.upper().removeprefix('SIG')].value
    except KeyError:
        raise argparse.ArgumentTypeError(f'no such signal: {text}') from None


def arguments():
    argv = sys.argv[1:]
    if '--' not in argv and '-h' not in argv and '--help' not in argv:
        wrong('no server: it comes after --')
    p = Parser(prog='gmprun compare', description=__doc__.splitlines()[0], usage=USAGE[7:])
    p.add_argument('--shim', required=True, help=argparse.SUPPRESS)
    p.add_argument('--load', required=True, help='shell command; {port} is what the server listens on')
    p.add_argument('--rounds', type=positive, default=3)
    p.add_argument('--procs', type=positive, default=len(os.sched_getaffinity(0)))
    p.add_argument('--html', default='gmprun-compare.html', help='the report ("" for none)')
    p.add_argument('--svg', help='the plots as a picture')
    p.add_argument('--json', help='raw data of all rounds')
    p.add_argument('--ready', type=float, default=60)
    p.add_argument('--timeout', type=float, default=600, help='of the load')
    p.add_argument('--check', help='shell command that must succeed before and after each load')
    p.add_argument('--stop', type=signal_number, default=signal.SIGTERM)
    cut = argv.index('--') if '--' in argv else len(argv)
    args = p.parse_args(argv[:cut])
    args.server = argv[cut + 1:]
    if not args.server:
        wrong('no server: it comes after --')
    for path in filter(None, (args.html, args.svg, args.json)):  # not after all the rounds
        folder = os.path.dirname(path) or '.'
        if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
            wrong(f'cannot write {path}')
    args.shim = os.path.realpath(args.shim)
    if not os.path.exists(args.shim):
        wrong(f'{args.shim}: no such file')
    if re.search('[ :]', args.shim):
        wrong(f'{args.shim}: LD_PRELOAD takes no path with a space or a colon')
    return args


def interrupted(signo, _frame):
    raise SystemExit(128 + signo)


def guarded(body, name):
    """body(children, work, log) with all processes and files cleaned up, however it ends; the exit status."""
    for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signo, interrupted)
    children = Children()
    with tempfile.TemporaryDirectory(prefix='gmp-compare.', ignore_cleanup_errors=True) as work:
        log = f'{work}/server.log'
        try:
            return body(children, work, log)
        except Failed as e:
            progress('')
            print(f'{name}: {e}', file=sys.stderr)
            said = read(log)[-1500:].strip('\n') if os.path.exists(log) else ''
            if said:
                print('--- end of the server\'s output\n' + said, file=sys.stderr)
            return 1
        except OSError as e:
            progress('')
            print(f'{name}: {e}', file=sys.stderr)
            return 1
        finally:
            for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(signo, signal.SIG_IGN)
            children.kill_all()


def main():
    args = arguments()

    def body(children, work, log):
        def check():
            children.run(['/bin/sh', '-c', args.check], log, 300, f'the check {args.check!r}')

        hook = check if args.check else None
        # after a stop signal: 0, or ended by it
        plan = Plan(args.shim, args.server, args.load, rounds=args.rounds, procs=args.procs, timeout=args.timeout,
                    stop=args.stop, before=hook, after=hook, ready_s=args.ready,
                    status=(0, -args.stop, 128 + args.stop))
        rows = run(plan, children, log, work)
        print_table(rows)
        write_reports(plan, rows, args.html, args.json, args.svg)
        return 0

    return guarded(body, 'gmprun compare')


if __name__ == '__main__':
    sys.exit(main())
