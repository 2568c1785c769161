#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What core and arch import: only each other, and what core-imports.txt allows with a reason.

usage: check_imports.py ALLOWED.txt LIB.a... | check_imports.py --self-test
"""

import os
import subprocess
import sys
import tempfile

NM = os.environ.get('NM', 'nm')
CC = os.environ.get('CC', 'cc').split()
AR = os.environ.get('AR', 'ar')


def read_allowed(path):
    """name -> reason; raises ValueError for a line without a reason."""
    allowed = {}
    with open(path, encoding='utf-8') as fh:
        for n, line in enumerate(fh, 1):
            if line.startswith('#') or not line.strip():
                continue
            name, _, reason = line.strip().partition(' ')
            if not reason.strip():
                raise ValueError(f'{path}:{n}: {name} is allowed without a reason')
            allowed[name] = reason.strip()
    return allowed


def symbols(lib):
    """(defined, {undefined: first object}) of the external symbols of an archive."""
    out = subprocess.run([NM, '-g', '-P', '-A', lib], check=True, capture_output=True, text=True).stdout
    defined, undefined = set(), {}
    for line in out.splitlines():
        where, _, rest = line.partition(': ')
        name, kind = rest.split()[:2]
        if kind in 'UwWvV' and (kind == 'U' or len(rest.split()) == 2):
            undefined.setdefault(name, where)
        else:
            defined.add(name)
    return defined, undefined


def check(allowed_path, libs):
    try:
        allowed = read_allowed(allowed_path)
    except ValueError as e:
        return [str(e)]
    defined, undefined = set(), {}
    for lib in libs:
        d, u = symbols(lib)
        defined |= d
        for name, where in u.items():
            undefined.setdefault(name, where)
    errors = [] if defined else [f'{" ".join(libs)}: no symbols found']
    for name in sorted(set(undefined) - defined - set(allowed)):
        errors.append(f'{undefined[name]}: imports {name}, which is not in {os.path.basename(allowed_path)}')
    return errors


def self_test():
    good = 'int gmp_b(int); void *memset(void *, int, unsigned long);\n' \
           'int gmp_a(int x) { return gmp_b(x) + (memset(&x, 0, sizeof(x)) != 0); }\n'
    cases = [
        ('', 'memset  a reason\n', None),
        ('void *malloc(unsigned long); void *gmp_c(void) { return malloc(1); }', 'memset  a reason\n',
         'imports malloc'),
        ('extern int weak(void) __attribute__((weak)); int gmp_c(void) { return weak ? weak() : 0; }',
         'memset  a reason\n', 'imports weak'),
        ('int gmp_elsewhere(void); int gmp_c(void) { return gmp_elsewhere(); }', 'memset  a reason\n',
         'imports gmp_elsewhere'),
        ('', '# nothing\n', 'imports memset'),
        ('', 'memset\n', 'memset is allowed without a reason'),
    ]
    failed = 0
    for more, allowed, want in cases:
        with tempfile.TemporaryDirectory() as d:
            libs = []
            for name, text in (('core', good + more + '\n'), ('arch', 'int gmp_b(int x) { return x; }\n')):
                base = os.path.join(d, name)
                with open(base + '.c', 'w', encoding='utf-8') as fh:
                    fh.write(text)
                # -O0 and no builtins: the calls stay calls
                flags = ['-O0', '-fno-builtin', '-fno-pic', '-w', '-c']
                subprocess.run(CC + flags + [base + '.c', '-o', base + '.o'], check=True)
                subprocess.run([AR, 'crs', base + '.a', base + '.o'], check=True)
                libs.append(base + '.a')
            path = os.path.join(d, 'allowed.txt')
            with open(path, 'w', encoding='utf-8') as fh:
                fh.write(allowed)
            got = check(path, libs)
        if (got != []) if want is None else not (len(got) == 1 and want in got[0]):
            print(f'self-test: {more!r}, allowed {allowed!r}: want {want!r}, got {got}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    errors = check(sys.argv[1], sys.argv[2:])
    for e in errors:
        print(e)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
