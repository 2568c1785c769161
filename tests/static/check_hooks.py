#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every hooked function has a class, a place in the table of classes, and a test.

usage: check_hooks.py hooks.def HACKING.md progs.txt PROGDIR | check_hooks.py --self-test

A function is tested when a program of progs.txt that is run imports it (nm). The table in HACKING.md ("Classes of
hooks") names functions by patterns: each hook matches one of its own class, each pattern a hook of its class. Prints
function, class and the first programs that test it.
"""

import fnmatch
import os
import re
import subprocess
import sys
import tempfile

NM = os.environ.get('NM', 'nm')
CLASSES = ('LOCAL', 'PARK', 'HANDOFF')
SHOWN = 3  # programs per line


def read(path):
    with open(path, encoding='utf-8') as fh:
        return fh.read()


def hooks_of(text):
    text = re.sub(r'//[^\n]*|/\*.*?\*/', ' ', text, flags=re.S)
    return re.findall(r'^\s*HOOK\s*\(\s*(\w+)\s*,[^,]*,\s*(\w+)\s*\)', text, re.M)


def table_of(text):
    """(class, pattern) of each row."""
    rows = []
    for line in text.splitlines():
        m = re.match(r'\| (\w+) \| (.*?) \|', line)
        if m and m.group(1) in CLASSES:
            rows += [(m.group(1), p) for p in re.findall(r'`([^`]+)`', m.group(2))]
    return rows


def check_table(hooks, rows):
    errors = []
    for name, cls in hooks:
        if cls not in CLASSES:
            errors.append(f'{name}: class {cls} is none of {", ".join(CLASSES)}')
        elif not any(c == cls and fnmatch.fnmatchcase(name, p) for c, p in rows):
            errors.append(f'{name}: {cls}, but in no row of that class of the table in HACKING.md')
    for cls, pattern in rows:
        if not any(c == cls and fnmatch.fnmatchcase(n, pattern) for n, c in hooks):
            errors.append(f'{pattern}: in the table as {cls}, but no such hook')
    return errors


def imports_of(path):
    out = subprocess.run([NM, '-D', '-P', '--undefined-only', path], check=True, capture_output=True, text=True,
                         env={**os.environ, 'LC_ALL': 'C'}).stdout
    return {line.split()[0].partition('@')[0] for line in out.splitlines()}


def tests_of(progs_text, progdir):
    """Function -> programs. A program that was not built (no C++ compiler) tests nothing."""
    tests = {}
    for line in progs_text.splitlines():
        words = line.split('#')[0].split()
        path = os.path.join(progdir, words[0]) if words else ''
        if len(words) < 3 or words[1] == 'module' or not os.path.exists(path):
            continue
        for name in imports_of(path):
            tests.setdefault(name, []).append(words[0] + (' (known to fail)' if words[1] == 'known' else ''))
    return tests


def check(hooks, rows, tests):
    errors = check_table(hooks, rows)
    errors += [f'{name}: no test program calls it' for name, _ in hooks if name not in tests]
    return errors


def self_test():
    hooks = hooks_of('/* HOOK(x, NULL, PARK) */\nHOOK(read, NULL, PARK)\nHOOK(close, "V", LOCAL)\n')
    good = '| PARK | `re*` | why |\n| LOCAL | `close` | not |\n| other | `x` | y |\n'
    cases = [
        (good, {'read': ['a'], 'close': ['b']}, []),
        (good, {'read': ['a']}, ['close: no test']),
        ('| PARK | `read`, `close` | w |\n', {'read': ['a'], 'close': ['b']}, ['close: LOCAL', 'close: in the table']),
    ]
    failed = 0
    for text, tests, want in cases:
        got = check(hooks, table_of(text), tests)
        if len(got) != len(want) or not all(any(w in g for g in got) for w in want):
            print(f'self-test: {text!r}: want {want}, got {got}')
            failed = 1
    if hooks != [('read', 'PARK'), ('close', 'LOCAL')]:
        print(f'self-test: hooks are {hooks}')
        failed = 1
    with tempfile.TemporaryDirectory() as d:
        src, exe = os.path.join(d, 'p.c'), os.path.join(d, 'p')
        with open(src, 'w', encoding='utf-8') as fh:
            fh.write('#include <unistd.h>\nint main(void) { return close(9); }\n')
        subprocess.run(os.environ.get('CC', 'cc').split() + [src, '-o', exe], check=True)
        tests = tests_of('p core p.c\nq core q.c\n', d)
        if tests.get('close') != ['p'] or 'read' in tests:
            print(f'self-test: tests are {tests}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) != 5:
        print(__doc__)
        return 2
    hooks = hooks_of(read(sys.argv[1]))
    tests = tests_of(read(sys.argv[3]), sys.argv[4])
    for name, cls in sorted(hooks):
        progs = tests.get(name, ['-'])
        more = f' and {len(progs) - SHOWN} more' if len(progs) > SHOWN else ''
        print(f'{name:32} {cls:8} {" ".join(progs[:SHOWN])}{more}')
    errors = check(hooks, table_of(read(sys.argv[2])), tests)
    for e in errors:
        print(e)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
