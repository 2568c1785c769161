# SPDX-License-Identifier: MIT
"""GODEBUG=schedtrace prints Go's lines, GMPSHIM_STATS counts right."""
import json
import re

from see import Waits, expect

LINE = re.compile(r'^SCHED (\d+)ms: gomaxprocs=(\d+) idleprocs=(\d+) threads=(\d+) spinningthreads=(\d+) '
                  r'needspinning=(\d) idlethreads=(\d+) runqueue=(\d+) \[ ((?:\d+ )+)\] schedticks=\[ ((?:\d+ )+)\]$')
P = re.compile(r'^  P(\d+): status=[012] schedtick=\d+ syscalltick=\d+ m=(nil|\d+) runqsize=\d+ gfreecnt=\d+ '
               r'timerslen=\d+$')
M = re.compile(r'^  M(\d+): p=(nil|\d+) curg=(nil|\d+) mallocing=0 throwing=0 preemptoff= locks=0 dying=0 '
               r'spinning=(true|false) blocked=(true|false) lockedg=(nil|\d+)$')
G = re.compile(r'^  G(\d+): status=([12346])\(([^)]*)\) m=(nil|\d+) lockedm=(nil|\d+)$')


def short():
    waits = Waits('8', GODEBUG='schedtrace=50')
    seen = [LINE.match(waits.lines('^SCHED ')[-1]) for _ in range(4)]
    waits.end()
    expect(all(seen), 'a line is not in the format of Go\'s schedtrace')
    times = [int(m[1]) for m in seen]
    expect(times == sorted(times) and times[1] >= 50, f'times {times}')
    for m in seen:
        expect(m[2] == '2' and len(m[9].split()) == 2 and len(m[10].split()) == 2, f'not 2 Ps: {m[0]}')
        expect(int(m[3]) <= 2 and int(m[4]) >= 2, f'impossible numbers: {m[0]}')


def detailed():
    waits = Waits('8', GODEBUG='asyncpreemptoff=0,schedtrace=100,scheddetail=1')
    waits.lines('^SCHED ')  # the first may come before all threads are there
    lines = waits.lines('^SCHED .* sysmonwait=(true|false)$')
    while not sum(bool(G.match(line)) for line in lines) == 9:
        lines = waits.lines('^SCHED .* sysmonwait=(true|false)$')
    waits.end()
    for line in lines[:-1]:
        expect(P.match(line) or M.match(line) or G.match(line), f'not in the format of Go\'s scheddetail: {line}')
    expect(sum(bool(P.match(line)) for line in lines) == 2, 'not 2 Ps')
    why = sorted(m[3] for m in map(G.match, lines) if m and m[2] == '4')
    for reason in ('cond wait', 'mutex lock', 'semaphore', 'sleep', 'IO wait'):
        expect(reason in why, f'nobody waits for: {reason}; {why}')


def stats():
    status, out, err = Waits('20', GMPSHIM_STATS='json').end()
    expect(status == 0 and out == 'bye\n', f'status {status}, stdout {out!r}')
    got = json.loads(err)
    expect(got['gs_made'] == 20 and got['gs_peak'] == 21, f'Gs: {got}')
    expect(got['parks']['mutex lock'] >= 15 and got['parks']['cond wait'] == 1 and got['parks']['semaphore'] == 1,
           f'parks: {got}')
    expect(got['switches'] >= 20 and 1 <= got['ms_peak'] < 20, f'{got}')
    status, out, err = Waits('20', GMPSHIM_STATS='1').end()
    expect(re.search(r'^gmpshim:   gs_made 20$', err, re.M) and re.search(r'^gmpshim:     semaphore 1$', err, re.M),
           f'text: {err}')
    _, _, err = Waits('5', GMPSHIM_STATS='xml').end()
    expect(err == 'gmpshim: GMPSHIM_STATS=xml: want 1, text[:FILE] or json[:FILE]; ignored\n', f'nonsense: {err!r}')


short()
detailed()
stats()
