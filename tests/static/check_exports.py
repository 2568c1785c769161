#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What libgmpshim.so shows to the world, and how it is linked.

usage: check_exports.py LIB.so hooks.def STATIC.a... | check_exports.py --self-test

The dynamic symbols are exactly the names of hooks.def, and those that gmpshim.h beside it declares, without a version
(a versioned hook does not stand before libc's). The library needs libc alone, binds at once, is initialised first, has
static TLS, no text relocations and no executable stack. The static libraries define nothing without our prefix.
"""

import os
import re
import subprocess
import sys
import tempfile

NM = os.environ.get('NM', 'nm')
READELF = os.environ.get('READELF', 'readelf')
CC = os.environ.get('CC', 'cc').split()
AR = os.environ.get('AR', 'ar')

PREFIXES = ('gmp_', 'arch_')
# The scheduler's one global, by its name in Go; the anchor of systemtap's probes. Both hidden.
UNPREFIXED = {'sched', '_.stapsdt.base'}


def run(*args):
    env = {**os.environ, 'LC_ALL': 'C'}
    return subprocess.run(args, check=True, capture_output=True, text=True, env=env).stdout


def hook_names(path):
    with open(path, encoding='utf-8') as fh:
        text = re.sub(r'//[^\n]*|/\*.*?\*/', ' ', fh.read(), flags=re.S)
    return [m.group(1) for m in re.finditer(r'^\s*HOOK\s*\(\s*(\w+)\s*,', text, re.M)]


def api_names(def_path):
    """What the public header declares of the library, where there is one."""
    path = os.path.join(os.path.dirname(def_path), 'gmpshim.h')
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as fh:
        return re.findall(r'^extern \w+ (gmpshim_lib_\w+)\(', fh.read(), re.M)


def exports(so):
    """Names with their versions: name@@VERSION where there is one."""
    return [line.split()[0] for line in run(NM, '-D', '-P', '--defined-only', so).splitlines()]


def check_names(so, def_path):
    errors = []
    hooks = hook_names(def_path) + api_names(def_path)
    have = {}
    for sym in exports(so):
        name, at, version = sym.partition('@')
        have[name] = sym
        if at:
            errors.append(f'{sym}: exported with a version; the program would get libc\'s')
    for name in sorted(set(hooks) - set(have)):
        errors.append(f'{name}: in {os.path.basename(def_path)}, but not exported (no body?)')
    for name in sorted(set(have) - set(hooks)):
        errors.append(f'{have[name]}: exported, but not in {os.path.basename(def_path)}')
    for name in sorted({n for n in hooks if hooks.count(n) > 1}):
        errors.append(f'{name}: twice in {os.path.basename(def_path)}')
    if not hooks:
        errors.append(f'{def_path}: no HOOK rows')
    return errors


def check_dynamic(so):
    errors = []
    tags = {}
    for m in re.finditer(r'^\s*0x[0-9a-f]+ \((\w+)\)\s+(.*)$', run(READELF, '-dW', so), re.M):
        tags.setdefault(m.group(1), []).append(m.group(2))
    needed = [re.sub(r'.*\[(.*)\].*', r'\1', v) for v in tags.get('NEEDED', [])]
    flags = ' '.join(tags.get('FLAGS', [])).replace('Flags:', ' ').split()
    flags_1 = ' '.join(tags.get('FLAGS_1', [])).replace('Flags:', ' ').split()
    if needed != ['libc.so.6']:
        errors.append(f'NEEDED is {needed}, want libc.so.6 alone')
    if 'NOW' not in flags_1:
        errors.append('FLAGS_1 lacks NOW: lazy binding would run on stacks of any G (-z now)')
    if 'INITFIRST' not in flags_1:
        errors.append('FLAGS_1 lacks INITFIRST: other constructors would run before rt0_go (-z initfirst)')
    if 'STATIC_TLS' not in flags:
        errors.append('FLAGS lacks STATIC_TLS: gmp_tls must be initial-exec')
    if 'TEXTREL' in tags or 'TEXTREL' in flags:
        errors.append('has text relocations')
    stack = re.findall(r'^\s*GNU_STACK\s+(?:0x[0-9a-f]+\s+){5}([RWE ]{3})', run(READELF, '-lW', so), re.M)
    if [s.strip() for s in stack] != ['RW']:
        errors.append(f'GNU_STACK is {stack}, want RW: an executable stack spoils the whole process')
    return errors


def check_prefixes(libs):
    errors = []
    for lib in libs:
        for line in run(NM, '-g', '-P', '-A', '--defined-only', lib).splitlines():
            where, _, rest = line.partition(': ')
            name = rest.split()[0]
            if not name.startswith(PREFIXES) and name not in UNPREFIXED:
                errors.append(f'{where}: defines {name}, without the prefix gmp_ or arch_')
    return errors


def check(so, def_path, libs):
    return check_names(so, def_path) + check_dynamic(so) + check_prefixes(libs)


def self_test():
    good_c = '__attribute__((visibility("default"))) int hooked(int x) { return x; }\n' \
             '__attribute__((visibility("default"))) int second(void) { return 0; }\n' \
             'static __thread int gmp_tls __attribute__((tls_model("initial-exec")));\n' \
             'int gmp_f(void); int gmp_f(void) { return gmp_tls++; }\n'
    good_def = '/* HOOK(no, NULL, X) */\nHOOK(hooked, NULL, LOCAL)\nHOOK(second, "V", PARK) // HOOK(nor_this, 0)\n'
    good_link = ['-Wl,-z,now', '-Wl,-z,initfirst', '-Wl,-z,noexecstack']
    visible = '__attribute__((visibility("default"))) '
    # (more C, hooks.def, link arguments, version script, a part of each message in order)
    cases = [
        ('', good_def, good_link, None, []),
        (visible + 'int third(void) { return 0; }', good_def, good_link, None, ['third: exported, but not in']),
        ('', good_def + 'HOOK(absent, NULL, LOCAL)\n', good_link, None, ['absent: in hooks.def, but not exported']),
        ('', good_def + 'HOOK(hooked, NULL, LOCAL)\n', good_link, None, ['hooked: twice in']),
        ('', good_def, good_link, 'V1 { global: hooked; second; local: *; };\n',
         ['hooked@@V1: exported with a version', 'second@@V1: exported with a version', 'V1: exported, but not in']),
        ('', good_def, good_link[1:] + ['-Wl,-z,lazy'], None, ['lacks NOW']),
        ('', good_def, good_link[:1] + good_link[2:], None, ['lacks INITFIRST']),
        ('', good_def, good_link[:2] + ['-Wl,-z,execstack'], None, ['GNU_STACK is']),
        ('', good_def, good_link + ['-Wl,--no-as-needed', '-lm'], None, ['NEEDED is']),
        (visible + 'int *third(void) { return 0; }', None, good_link, None, ['lacks STATIC_TLS', 'NEEDED is']),
        ('int loose(void); int loose(void) { return 0; }', good_def, good_link, None, ['defines loose, without']),
    ]
    failed = 0
    for more, defs, link, script, want in cases:
        text = good_c
        if defs is None:  # the case of the TLS model
            defs = good_def + 'HOOK(third, NULL, LOCAL)\n'
            text = good_c.replace('initial-exec', 'global-dynamic')
        with tempfile.TemporaryDirectory() as d:
            path = {n: os.path.join(d, n) for n in ('a.c', 'a.o', 's.c', 's.o', 's.a', 'a.so', 'hooks.def', 'a.map')}
            with open(path['a.c'], 'w', encoding='utf-8') as fh:
                fh.write(text + (more if 'visibility' in more else '') + '\n')
            with open(path['s.c'], 'w', encoding='utf-8') as fh:
                fh.write('int sched, gmp_x; void arch_y(void) {}\n' + ('' if 'visibility' in more else more) + '\n')
            with open(path['hooks.def'], 'w', encoding='utf-8') as fh:
                fh.write(defs)
            if script:
                with open(path['a.map'], 'w', encoding='utf-8') as fh:
                    fh.write(script)
                link = link + ['-Wl,--version-script=' + path['a.map']]
            flags = ['-w', '-O1', '-fPIC', '-fvisibility=hidden', '-shared', '-nostartfiles', '-nodefaultlibs']
            link = ['-Wl,--no-as-needed', '-lc'] + link
            subprocess.run(CC + flags + [path['a.c'], '-o', path['a.so']] + link, check=True)
            subprocess.run(CC + ['-w', '-c', path['s.c'], '-o', path['s.o']], check=True)
            subprocess.run([AR, 'crs', path['s.a'], path['s.o']], check=True)
            got = check(path['a.so'], path['hooks.def'], [path['s.a']])
        if len(got) != len(want) or not all(any(w in g for g in got) for w in want):
            print(f'self-test: {more!r} {link}: want {want}, got {got}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) < 4:
        print(__doc__)
        return 2
    errors = check(sys.argv[1], sys.argv[2], sys.argv[3:])
    for e in errors:
        print(e)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
