#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs gmpbench on NPTL, under the shim, and its Go twin, and compares them.

The three take turns within each round, one measurement at a time, so that a slow phase of the
machine hits all of them. Only the shimmed process sees LD_PRELOAD; it and Go see GOMAXPROCS.
Exit status: 0; 1 when a run crashed, or a ratio is below its --min; 2 for wrong arguments.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

RUN_TIMEOUT_S = 60


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--bench', required=True, help='the gmpbench program')
    p.add_argument('--shim', required=True, help='libgmpshim.so')
    p.add_argument('--go', help='the program built from gmpbench.go')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--procs', type=int, default=os.cpu_count(), help='GOMAXPROCS')
    p.add_argument('--only', help='comma-separated measurements, as contended or contended_16')
    p.add_argument('--json', help='write every value to this file')
    p.add_argument('--min', help='least NPTL/shim ratios, as create_join=10,sem_pingpong=10')
    args = p.parse_args()
    for path in filter(None, (args.bench, args.shim, args.go)):
        if not os.path.exists(path):
            p.error(f'{path}: no such file')
    args.floors = {}
    for item in filter(None, (args.min or '').split(',')):
        name, _, ratio = item.partition('=')
        try:
            args.floors[name] = float(ratio)
        except ValueError:
            p.error(f'--min {item}: not NAME=RATIO')
    return args


def contenders(args):
    plain = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'GOMAXPROCS')}
    procs = dict(plain, GOMAXPROCS=str(args.procs))
    bench = os.path.realpath(args.bench)
    ret = {'NPTL': (bench, plain),
           'shim': (bench, dict(procs, LD_PRELOAD=os.path.realpath(args.shim)))}
    if args.go:
        ret['Go'] = (os.path.realpath(args.go), procs)
    return ret


def measurements(bench, only):
    lines = subprocess.run([bench, 'list'], check=True, text=True, capture_output=True,
                           timeout=RUN_TIMEOUT_S).stdout.splitlines()
    wanted = only.split(',') if only else None
    ret = [c.split() for c in lines
           if not wanted or c.split()[0] in wanted or c.replace(' ', '_') in wanted]
    if not ret:
        sys.exit(f'--only {only}: none of the measurements: ' + ' '.join(lines))
    return ret


def run_once(binary, env, command):
    """Returns ({name: value}, None), or ({}, what went wrong)."""
    try:
        r = subprocess.run([binary, *command], env=env, text=True, capture_output=True,
                           stdin=subprocess.DEVNULL, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {}, f'no end within {RUN_TIMEOUT_S} s'
    if r.returncode != 0 or 'cannot be preloaded' in r.stderr:
        return {}, f'status {r.returncode}: {r.stderr.strip()[-300:]}'
    if r.stderr:
        print(f'  {" ".join(command)}: {r.stderr.strip()}', file=sys.stderr)
    fields = (line.split() for line in r.stdout.splitlines())
    return {name: float(value) for name, value, _unit in fields}, None


def spread(values):
    return 100 * (max(values) - min(values)) / (statistics.median(values) or 1)


def ratio(values, a, b):
    """Median a / median b, or None when one is missing."""
    if not values.get(a) or not values.get(b):
        return None
    return statistics.median(values[a]) / (statistics.median(values[b]) or float('inf'))


def human(ns):
    if ns is None:
        return '-'
    if ns < 1e3:
        return f'{ns:.1f} ns'
    return f'{ns / 1e3:.2f} us' if ns < 1e6 else f'{ns / 1e6:.2f} ms'


def print_table(results, names):
    def times(r):
        return '-' if r is None else f'{r:.2f}'

    head = ['per operation, median', *names, 'NPTL/shim', 'shim/Go', 'spread % ' + '/'.join(names)]
    form = '{:<22}' + '{:>12}' * len(names) + '{:>11}{:>9}   {}'
    print(form.format(*head))
    for name, values in results.items():
        medians = [human(statistics.median(values[n]) if values.get(n) else None) for n in names]
        spreads = '/'.join(f'{spread(values[n]):.0f}' if values.get(n) else '-' for n in names)
        print(form.format(name, *medians, times(ratio(values, 'NPTL', 'shim')),
                          times(ratio(values, 'shim', 'Go')), spreads))


def main():
    args = arguments()
    runners = contenders(args)
    commands = measurements(runners['NPTL'][0], args.only)
    results, crashes = {}, []
    for round_no in range(args.rounds):
        # Every contender gets every place in the order.
        shift = round_no % len(runners)
        order = list(runners)[shift:] + list(runners)[:shift]
        for command in commands:
            for who in order:
                values, error = run_once(*runners[who], command)
                if error:
                    crashes.append(f'{who}: {" ".join(command)}: {error}')
                    print(crashes[-1], file=sys.stderr)
                for name, value in values.items():
                    results.setdefault(name, {}).setdefault(who, []).append(value)
        if sys.stderr.isatty():
            print(f'round {round_no + 1} of {args.rounds} done', file=sys.stderr)

    print(f'{args.rounds} rounds, GOMAXPROCS={args.procs}, {os.cpu_count()} CPUs online, '
          f'Linux {os.uname().release} {os.uname().machine}')
    print_table(results, list(runners))
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as f:
            json.dump({'rounds': args.rounds, 'procs': args.procs, 'unit': 'ns',
                       'values': results, 'crashes': crashes}, f, indent=1)
    low = []
    for name, floor in args.floors.items():
        got = ratio(results.get(name, {}), 'NPTL', 'shim')
        if got is None or got < floor:
            low.append(f'{name}: NPTL/shim is {got and round(got, 2)}, wanted at least {floor:g}')
    for line in low:
        print(line)
    if crashes:
        print(f'{len(crashes)} runs crashed or hung; the first: {crashes[0]}')
    return 1 if crashes or low else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
