#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The form of the files in the repository.

usage: check_style.py ROOT [FILE...] | check_style.py --self-test

All text files: at most 120 columns (tab = 8), no blanks at the end of a line, a final newline, no unfinished-work
marks, no absolute paths of a developer's machine. C, C++, assembler, .def and .h: tabs for indentation. Sources
and scripts: an SPDX line among the first three. Without FILE: what git tracks or would track, else all files.
"""

import os
import re
import subprocess
import sys
import tempfile

COLUMNS = 120
TABBED = ('.c', '.h', '.S', '.def', '.cpp')
LICENSED = TABBED + ('.py', '.sh', '.go')
NOT_WRAPPED = ('.md', '.tsv', '.txt', '.json', '.svg')  # tables, prose and pictures may be wider
SKIP_DIRS = {'.git', '__pycache__'}
SPDX = re.compile(r'SPDX-License-Identifier: \S+')
# Spelled in pieces: this file is checked too.
MARKS = re.compile(r'\b(' + '|'.join(('TO' + 'DO', 'FIX' + 'ME', 'X' * 3)) + r')\b')
PATHS = re.compile(r'(?<![\w.)}$*])/(' + '|'.join(('ho' + 'me', 'wo' + 'rk', 'ro' + 'ot')) + r')/')


def columns(line):
    return len(line.expandtabs(8))


def check_text(name, text):
    errors = []
    lines = text.split('\n')
    if text and lines[-1] != '':
        errors.append(f'{name}:{len(lines)}: no newline at the end of the file')
    elif text.endswith('\n\n'):
        errors.append(f'{name}:{len(lines) - 1}: empty lines at the end of the file')
    if name.endswith(LICENSED) and text and not any(SPDX.search(s) for s in lines[:3]):
        errors.append(f'{name}:1: no SPDX-License-Identifier in the first three lines')
    for n, line in enumerate(lines, 1):
        where = f'{name}:{n}'
        if line != line.rstrip():
            errors.append(f'{where}: blanks at the end of the line')
        if columns(line) > COLUMNS and not name.endswith(NOT_WRAPPED):
            errors.append(f'{where}: {columns(line)} columns, at most {COLUMNS}')
        if name.endswith(TABBED) and re.match(r' +[^ *\\]', line):
            errors.append(f'{where}: indented with blanks, not tabs')
        m = MARKS.search(line)
        if m:
            errors.append(f'{where}: {m.group(0)} left in')
        m = PATHS.search(line)
        if m:
            errors.append(f'{where}: an absolute path: {m.group(0)}')
    return errors


def files(root):
    try:
        if os.path.exists(os.path.join(root, '.git')):
            out = subprocess.run(['git', '-C', root, 'ls-files', '-z', '-c', '-o', '--exclude-standard'], check=True,
                                 capture_output=True).stdout
            return sorted({f for f in out.decode().split('\0') if f and os.path.isfile(os.path.join(root, f))})
    except (OSError, subprocess.CalledProcessError):
        pass
    found = []
    for top, dirs, names in os.walk(root):
        # not into build directories, which lie in the tree now and then
        dirs[:] = sorted(d for d in dirs if d not in SKIP_DIRS and
                         not os.path.exists(os.path.join(top, d, 'build.ninja')))
        found += [os.path.relpath(os.path.join(top, n), root) for n in names]
    return sorted(found)


def check(root, names):
    errors = []
    for name in names:
        with open(os.path.join(root, name), 'rb') as fh:
            data = fh.read()
        if b'\0' in data:
            continue  # not a text
        try:
            errors += check_text(name, data.decode('utf-8'))
        except UnicodeDecodeError as e:
            errors.append(f'{name}: not UTF-8: {e}')
    if not names:
        errors.append(f'{root}: no files')
    return errors


def self_test():
    spdx = '// SPDX-License-Identifier: MIT\n'
    home = '/ho' + 'me/'
    cases = [
        ('a.c', spdx + '/*\n * text\n */\nint f(void)\n{\n\treturn 0;\n}\n', None),
        ('a.py', '#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\nif 1:\n    pass\n', None),
        ('meson.build', "a = 'x'\nif a\n  b = 1\nendif\n", None),
        ('a.c', spdx + '#define A  \\\n           \\\n\tb\n', None),
        ('a.c', spdx + 'x' * 120 + '\n', None),
        ('a.c', spdx + 'int a; // proc' + home + ' and a/wo' + 'rk/b\n', None),
        ('empty.txt', '', None),
        ('a.c', 'int a;\n', 'a.c:1: no SPDX'),
        ('a.sh', '#!/bin/sh\n\n\n# SPDX-License-Identifier: MIT\n', 'no SPDX'),
        ('a.c', spdx + '    int a;\n', 'a.c:2: indented with blanks'),
        ('a.h', spdx + ' int a;\n', 'a.h:2: indented with blanks'),
        ('a.c', spdx + 'int a; \n', 'a.c:2: blanks at the end'),
        ('a.c', spdx + 'int a;\t\n', 'a.c:2: blanks at the end'),
        ('a.c', spdx + 'int a;', 'a.c:2: no newline'),
        ('a.c', spdx + 'int a;\n\n', 'empty lines at the end'),
        ('a.c', spdx + '\t' * 15 + 'x\n', 'a.c:2: 121 columns'),
        ('a.py', '# SPDX-License-Identifier: MIT\n' + 'x' * 121 + '\n', 'a.py:2: 121 columns'),
        ('a.c', spdx + '/* TO' + 'DO: more */\n', 'a.c:2: TO' + 'DO left in'),
        ('a.md', 'FIX' + 'ME\n', 'a.md:1: FIX' + 'ME left in'),
        ('a.md', 'see ' + home + 'me/x\n', 'a.md:1: an absolute path: ' + home),
        ('a.sh', '# SPDX-License-Identifier: MIT\ncd /ro' + 'ot/x\n', 'an absolute path'),
        ('a.c', spdx + 'char *p = "/wo' + 'rk/x";\n', 'an absolute path'),
    ]
    failed = 0
    for name, text, want in cases:
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, name), 'w', encoding='utf-8', newline='') as fh:
                fh.write(text)
            got = check(d, files(d))
        if (got != []) if want is None else not (len(got) == 1 and want in got[0]):
            print(f'self-test: {name}: {text!r}: want {want!r}, got {got}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    errors = check(sys.argv[1], sys.argv[2:] or files(sys.argv[1]))
    for e in errors:
        print(e)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
