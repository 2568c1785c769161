# SPDX-License-Identifier: MIT
"""GMPSHIM_TRACE: the file is what trace viewers read, and tells what happened."""
import json
import os
import tempfile
from collections import Counter

from see import Waits, expect

with tempfile.TemporaryDirectory() as d:
    status, out, err = Waits('40', GMPSHIM_TRACE=f'{d}/trace').end()
    expect(status == 0 and out == 'bye\n' and err == '', f'status {status}, {out!r} {err!r}')
    with open(f'{d}/trace', encoding='utf-8') as f:
        events = json.load(f)
    _, _, err = Waits('5', GMPSHIM_TRACE=f'{d}/no/trace').end()
    expect('GMPSHIM_TRACE: cannot write' in err, f'a file that cannot be made: {err!r}')
    expect(os.listdir(d) == ['trace'], 'more files')

names = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}
expect([n for (pid, _), n in sorted(names.items()) if pid == 1] == ['P 0', 'P 1'], f'tracks of Ps: {names}')
expect(sum(pid == 2 for pid, _ in names) == 41, f'{len(names)} tracks, not one for each of 41 threads')

slices = [e for e in events if e['ph'] == 'X']
expect(all(e['dur'] >= 0 and e['ts'] >= 0 for e in slices), 'time runs backwards')
for p in (0, 1):
    runs = sorted((e['ts'], e['ts'] + e['dur'], e['name']) for e in slices if (e['pid'], e['tid']) == (1, p))
    for a, b in zip(runs, runs[1:]):
        expect(a[1] <= b[0] + 0.002, f'two threads at once on P {p}: {a} {b}')
ran = {int(e['name'][1:]) for e in slices if e['pid'] == 1}
expect(ran == {tid for pid, tid in names if pid == 2}, 'threads that ran, by P and by track, differ')

waits = Counter(e['name'] for e in slices if e['pid'] == 2)
expect(waits['mutex lock'] == 35 and waits['cond wait'] == 1 and waits['semaphore'] == 1 and waits['IO wait'] >= 1 and
       waits['sleep'] >= 1 and waits['running'] >= 41, f'{waits}')

begins = {e['id'] for e in events if e['ph'] == 's'}
ends = {e['id'] for e in events if e['ph'] == 'f'}
expect(len(begins) >= 40 and ends <= begins, f'{len(begins)} arrows begin, {len(ends - begins)} end that did not')
expect({e['name'] for e in events if e['ph'] == 'C'} == {'threads', 'global queue', 'netpoll'}, 'counters')
