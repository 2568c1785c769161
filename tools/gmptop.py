#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gmprun top: the scheduler of a running process, refreshed.

It reads the process's memory through /proc (as a debugger may); the process does nothing for it.
"""
import argparse
import shutil
import signal
import sys
import time
from collections import Counter

import gmplook

USAGE = 'usage: gmprun top [-n TIMES] [-d SECONDS] PID'
RATES = ('created', 'switches', 'steals', 'preempts', 'syscalltick')
TITLES = {'created': 'created', 'switches': 'switches', 'steals': 'steals', 'preempts': 'preemptions',
          'syscalltick': 'syscalls', 'handoffs': 'hand-offs', 'unseen': 'unseen blocks', 'polls': 'netpolls'}


def look(process):
    ps, ms, gs = list(process.procs()), list(process.machines()), list(process.gs())
    counts = {name: sum(p[name] for p in ps) for name in RATES}
    counts['handoffs'] = process.sched('sched.stat_handoffs', '<Q')
    counts['unseen'] = process.sched('sched.stat_unseen', '<Q')
    counts['polls'] = sum(m['stat_polls'] for m in ms)
    # Idle Ps keep the coarse clock from being up to date.
    now = max(process.sched('sched.coarse_now', '<q'), time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    return {'time': time.monotonic(), 'ps': ps, 'ms': ms, 'gs': gs, 'counts': counts, 'now': now,
            'global': process.sched('sched.runqsize')}


def show(process, new, old):
    reasons = {}

    def why(g):
        address = g['waitreason']
        if address not in reasons:
            reasons[address] = process.text(address)
        return reasons[address]

    states = Counter(why(g) if g['status'] == 4 else gmplook.STATUS[g['status']] for g in new['gs'])
    lengths = ' '.join(str((p['runqtail'] - p['runqhead']) & 0xffffffff) for p in new['ps'])
    running = sum(p['status'] == 1 for p in new['ps'])
    lines = [f'gmprun top: process {process.pid}, {len(new["gs"])} threads, {len(new["ms"])} Ms '
             f'({sum(m["curg"] != 0 for m in new["ms"])} with a thread), {len(new["ps"])} Ps ({running} running)',
             f'run queues: global {new["global"]}, local [{lengths}]',
             'threads: ' + ', '.join(f'{n} {state}' for state, n in states.most_common())]
    if old is not None:
        span = new['time'] - old['time']
        lines.append('per second: ' + ', '.join(
            f'{(new["counts"][k] - old["counts"][k]) / span:.0f} {title}' for k, title in TITLES.items()))
    waiting = [g for g in new['gs'] if g['status'] == 4]
    # A wait queue's key may be an odd address inside of the object.
    locks = Counter((g['waitobj'] & ~3, why(g)) for g in waiting if 0 < g['waitobj'] < gmplook.WAIT_FD)
    lines += ['', f'{"longest waits":<16}{"seconds":>9}  what']
    for g in sorted(waiting, key=lambda g: (g['waitsince'], g['goid']))[:10]:
        what = why(g)
        if g['waitobj'] >= gmplook.WAIT_FD:
            what += f', fd {g["waitobj"] & 0xffffffff}'
        elif g['waitobj']:
            what += f', {g["waitobj"] & ~3:#x}'
        lines.append(f'{g["goid"]:<6} {g["name"][:9]:<9}{max(0, new["now"] - g["waitsince"]) / 1e9:>9.1f}  {what}')
    lines += ['', f'{"most waited for":<20}{"waiters":>8}  what']
    lines += [f'{address:<#20x}{n:>8}  {what}' for (address, what), n in locks.most_common(10)]
    return lines


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f'gmprun top: {message}\n{USAGE}', file=sys.stderr)
        sys.exit(2)


def positive(text):
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError('must be above 0, and a day at most')
    return value


def times_number(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError('must not be below 0')
    return value


def main():
    p = Parser(prog='gmprun top', description=__doc__.splitlines()[0], usage=USAGE[7:])
    p.add_argument('--shim', help=argparse.SUPPRESS)
    p.add_argument('-n', type=times_number, default=0, help='how many times; 0: until interrupted')
    p.add_argument('-d', type=positive, default=1.0, help='seconds between two looks')
    p.add_argument('pid', type=int, metavar='PID')
    args = p.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # head has enough
    old, times = None, 0
    try:
        process = gmplook.Process(args.pid)
        while True:
            new = look(process)
            lines = show(process, new, old)
            if sys.stdout.isatty():
                width, height = shutil.get_terminal_size()  # a terminal may not know
                print('\033[H\033[J' + '\n'.join(line[:width] for line in lines[:height - 1]), flush=True)
            else:
                print('\n'.join(lines) + '\n', flush=True)
            old, times = new, times + 1
            if times == args.n:
                return 0
            time.sleep(args.d)
    except gmplook.NoShim as e:
        print(f'gmprun top: {e}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
