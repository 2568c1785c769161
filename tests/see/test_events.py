# SPDX-License-Identifier: MIT
"""Traces of scheduling events: GMPSHIM_TRACE, gmprun trace of a program and of a live process."""
import bisect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

from see import Waits, expect, may_look, SHIM, WAITS

GMPRUN, BENCH = os.environ['GMP_RUN'], os.environ['GMP_BENCH']


def load(path):
    with open(path, encoding='utf-8') as f:
        trace = json.load(f)
    expect(trace['displayTimeUnit'] == 'ns', 'chrome://tracing takes slices of one microsecond for parts of each other')
    return trace['traceEvents']


THREADS, PS = 1, 10 ** 9  # process ids


def tracks(events):
    return {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}


def ns(us):
    return round(us * 1000)


def no_overlap(events, pid, tid):
    """A slice that begins where another ends is a part of that to a viewer which adds floating-point numbers."""
    runs = sorted((ns(e['ts']), ns(e['ts']) + ns(e['dur']), e['name']) for e in events
                  if e['ph'] == 'X' and (e['pid'], e['tid']) == (pid, tid) and e['name'] != 'ready')
    for a, b in zip(runs, runs[1:]):
        expect(a[1] < b[0] or a[0] == a[1] == b[0], f'two things at once on track {pid}/{tid}: {a} {b}')


def arrow_ends(events):
    """Perfetto reads by time, then place, and hangs the end of an arrow on the slice that began last."""
    begun = set()
    for e in events:
        if e['ph'] == 'X':
            begun.add((e['tid'], e['ts']))
        elif e['ph'] == 'f':
            expect((e['tid'], e['ts']) in begun, f'an arrow ends before the slice that it belongs to: {e}')


def common(events, procs):
    """What holds of every trace."""
    names = tracks(events)
    expect(len({tid for _, tid in names}) == len(names), 'two tracks with one number')
    arrow_ends(events)
    expect([n for (pid, _), n in sorted(names.items()) if pid == PS] ==
           [f'P {i}' for i in range(procs)] + ['netpoll'], f'tracks of Ps: {names}')
    slices = [e for e in events if e['ph'] == 'X']
    expect(all(e['dur'] >= 0 and e['ts'] >= 0 for e in slices), 'time runs backwards')
    for pid, tid in names:
        no_overlap(events, pid, tid)
    ran = {int(e['name'][1:]) for e in slices if e['pid'] == PS and re.fullmatch(r'G\d+', e['name'])}
    expect(ran <= {tid for pid, tid in names if pid == THREADS}, 'a thread that ran has no track')
    begins, ends = ({e['id']: (e['tid'], e['ts']) for e in events if e['ph'] == ph} for ph in 'sf')
    expect(begins.keys() == ends.keys(), 'arrows without an end')
    expect(all(begins[i][1] <= ends[i][1] for i in begins), 'an arrow goes back in time')
    around = {tid: sorted((e['ts'], e['ts'] + e['dur']) for e in slices if (e['pid'], e['tid']) == (PS, tid))
              for tid in (*range(PS, PS + procs), PS + 256)}
    for tid, ts in begins.values():  # a viewer hangs an arrow on the slice around it
        at = bisect.bisect(around[tid], (ts + 0.002, 1e99))
        expect(any(ts <= end + 0.002 for _, end in around[tid][max(0, at - 3):at]),
               f'an arrow begins at {ts} on {tid}, where nothing runs')
    counters = {e['name'] for e in events if e['ph'] == 'C'}  # none, if sysmon had no turn in so short a time
    expect(counters in (set(), {'threads', 'global queue', 'local queues', 'idle Ps', 'netpoll', 'hand-offs'}),
           f'counters: {counters}')
    return ran, Counter(e['name'] for e in slices if e['pid'] == THREADS), begins


def to_the_exit(d):
    status, out, err = Waits('40', GMPSHIM_TRACE=f'{d}/t.%p').end()
    expect(status == 0 and out == 'bye\n' and err == '', f'status {status}, {out!r} {err!r}')
    name, = os.listdir(d)
    expect(re.fullmatch(r't\.\d+', name), f'{name}: no process in the name')
    events = load(f'{d}/{name}')
    os.unlink(f'{d}/{name}')
    ran, what, arrows = common(events, 2)
    names = tracks(events)
    expect(names[THREADS, 3] == 'G 3 semmy' and names[THREADS, 7] == 'G 7', f'{names}')
    expect(ran == set(range(1, 42)), f'not all of 41 threads ran: {ran}')
    expect(what['mutex lock'] == 35 and what['cond wait'] == 1 and what['semaphore'] == 1 and what['IO wait'] >= 1 and
           what['sleep'] >= 1 and what['running'] >= 41 and what['runnable'] >= 40, f'{what}')
    expect(len(arrows) >= 40, f'{len(arrows)} arrows')
    process = {e['args']['name'] for e in events if e['name'] == 'process_name'}
    expect(process == {'Ps of waits', 'threads of waits'}, f'{process}')
    _, _, err = Waits('5', GMPSHIM_TRACE=f'{d}/no/trace').end()
    expect('GMPSHIM_TRACE: cannot write' in err, f'a file that cannot be made: {err!r}')
    expect(os.listdir(d) == [], 'more files')


def too_much(d):
    """More switches than are recorded, and than fit: what is left out is told."""
    env = {k: v for k, v in os.environ.items() if k not in ('GMPSHIM_TRACE', 'GMPSHIM_TRACE_MB')}
    env.update(LD_PRELOAD=SHIM, GOMAXPROCS='1', GMPSHIM_TRACE=f'{d}/much', GMPSHIM_TRACE_MB='1')
    r = subprocess.run([BENCH, 'sem_pingpong'], env=env, capture_output=True, text=True, timeout=600, check=False)
    # on a busy machine it may not get that far
    expect(r.returncode == 0 and re.fullmatch(r'(gmpshim: trace: its limit was reached \d+ ms before the end; see '
                                              r'GMPSHIM_TRACE_MB\n)?', r.stderr), f'{r}')
    expect(os.path.getsize(f'{d}/much') < 20 << 20, 'it is larger than the limit allows')
    events = load(f'{d}/much')
    common(events, 1)
    lost = [e for e in events if e['name'] == 'not recorded']
    expect(lost and all(e['args']['switches'] > 0 and e['dur'] > 0 for e in lost), f'{lost[:3]}')
    os.unlink(f'{d}/much')


def trace(*args):
    return subprocess.run([GMPRUN, 'trace', *args], capture_output=True, text=True, timeout=600, check=False,
                          stdin=subprocess.DEVNULL)


def live(d):
    waits = Waits('40')
    pid = str(waits.child.pid)
    for _ in range(2):
        r = trace('-d', '0.3', '-o', f'{d}/live', pid)
        expect(r.returncode == 0 and r.stdout.startswith(f'{d}/live: 0.') and r.stderr == '', f'{r}')
        events = load(f'{d}/live')
        _, what, _ = common(events, 2)
        # those that waited before it began
        expect(what['mutex lock'] == 35 and what['cond wait'] == 1 and what['semaphore'] == 1, f'{what}')
    fds = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
    expect(not any('memfd' in fd for fd in fds), f'the trace was not given back: {fds}')
    status, out, err = waits.end()
    expect(status == 0 and out == 'bye\n' and err == '', f'after the traces: {status} {out!r} {err!r}')
    os.unlink(f'{d}/live')


def idle(d):
    """All threads wait: sysmon sleeps and must be woken. The deadlock of `waits` is that."""
    waits = Waits('6', 'deadlock')
    waits.lines('^  M0: ')
    r = trace('-d', '0.2', '-o', f'{d}/idle', str(waits.child.pid))
    expect(r.returncode == 0, f'{r}')
    _, what, _ = common(load(f'{d}/idle'), 2)
    expect(what['mutex lock'] == 6 and what['join'] == 1, f'{what}')
    waits.child.kill()
    waits.end(go=False)
    os.unlink(f'{d}/idle')


def interrupted(d):
    waits = Waits('10')
    child = subprocess.Popen([GMPRUN, 'trace', '-d', '1000', '-o', f'{d}/int', str(waits.child.pid)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    fds = f'/proc/{waits.child.pid}/fd'
    while not any('memfd' in os.readlink(f'{fds}/{fd}') for fd in os.listdir(fds)):
        expect(child.poll() is None, f'{child.stderr.read() if child.poll() is not None else ""}')
        time.sleep(0.01)
    r = trace('-o', f'{d}/second', str(waits.child.pid))
    expect(r.returncode == 1 and 'is being recorded already' in r.stderr and not os.path.exists(f'{d}/second'), f'{r}')
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=600)
    expect(child.returncode == 0 and out.startswith(f'{d}/int: ') and err == '', f'{child.returncode} {out} {err}')
    common(load(f'{d}/int'), 2)
    waits.end()
    os.unlink(f'{d}/int')


def program(d):
    def run(*more, **env):
        return subprocess.run([GMPRUN, 'trace', '-o', f'{d}/prog', '--', WAITS, '12', *more], input='\n', text=True,
                              capture_output=True, timeout=600, check=False,
                              env={**os.environ, 'GOMAXPROCS': '2', **env})

    r = run()
    expect(r.returncode == 0 and r.stdout == 'ready\nbye\n' and r.stderr.startswith(f'{d}/prog: open it'), f'{r}')
    common(load(f'{d}/prog'), 2)
    # killed: the raw trace is turned into JSON by gmprun
    r = run('abort', GOTRACEBACK='none')
    expect(r.returncode == 128 + signal.SIGABRT, f'{r}')
    common(load(f'{d}/prog'), 2)
    r = trace('-o', f'{d}/none', '--', 'true')
    expect(r.returncode == 1 and 'made no threads' in r.stderr, f'{r}')
    r = trace('--convert', f'{d}/prog')
    expect(r.returncode == 1 and 'is no raw trace' in r.stderr, f'{r}')
    r = trace(str(os.getpid()))
    expect(r.returncode == 1 and 'does not run under libgmpshim.so' in r.stderr, f'{r}')


with tempfile.TemporaryDirectory() as where:
    to_the_exit(where)
    too_much(where)
    program(where)
    if may_look():
        live(where)
        idle(where)
        interrupted(where)
    else:
        print('no process may look into another here: only traces that a program makes of itself')
sys.exit(0)
