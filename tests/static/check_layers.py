#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may include whom: preload -> core -> arch, and tests/prog nothing of ours.

usage: check_layers.py ROOT | check_layers.py --self-test
"""

import os
import re
import sys
import tempfile

# What core and arch may take from the system: types, constants and kernel interfaces, no libc functions.
FREESTANDING = {
    'errno.h', 'fcntl.h', 'limits.h', 'signal.h', 'stdarg.h', 'stdatomic.h', 'stdbool.h', 'stddef.h', 'stdint.h',
    'sys/mman.h', 'sys/prctl.h', 'sys/resource.h', 'time.h', 'ucontext.h',
}
KERNEL = ('asm/', 'linux/')
# Headers that one file of core alone may include.
ONLY_IN = {'sys/epoll.h': 'core/netpoll.c', 'sys/eventfd.h': 'core/netpoll.c',
           'sys/sdt.h': 'core/probe.h'}
# Words that core does not know: it never heard of them.
FOREIGN_WORDS = re.compile(r'\b\w*pthread_\w*|LD_PRELOAD')

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments(text):
    """Comments become blanks; strings, and so the quoted includes, stay."""
    def blank(m):
        s = m.group(0)
        return re.sub(r'[^\n]', ' ', s) if s[:2] in ('//', '/*') else s
    return COMMENT.sub(blank, text)


def sources(root, folder):
    for top, dirs, files in os.walk(os.path.join(root, folder)):
        dirs.sort()
        for f in sorted(files):
            if f.endswith(('.c', '.h', '.S', '.cpp', '.def')):
                path = os.path.join(top, f)
                with open(path, encoding='utf-8') as fh:
                    yield os.path.relpath(path, root), without_comments(fh.read())


def system_header_error(path, name):
    if name in ONLY_IN:
        return None if path == ONLY_IN[name] else f'only {ONLY_IN[name]} may include <{name}>'
    if name in FREESTANDING or name.startswith(KERNEL):
        return None
    return f'includes <{name}>; see FREESTANDING in check_layers.py'


def include_error(path, own, name):
    layer = path.split('/')[0]
    if layer == 'arch':
        if own and not name.startswith('arch/') and '/' in name:
            return f'arch includes "{name}", which is not of arch'
        return None if own else system_header_error(path, name)
    if layer == 'core':
        if own and not name.startswith(('core/', 'arch/')):
            return f'core includes "{name}", which is neither of core nor of arch (write it from the root)'
        return None if own else system_header_error(path, name)
    if path.startswith('tests/prog/'):
        if own and name not in ('prog.h', 'gmpshim.h'):
            return f'a plain pthread program includes "{name}"; only prog.h and the public gmpshim.h are allowed'
        if name.startswith(('core/', 'arch/', 'preload/')):
            return f'a plain pthread program includes "{name}"'
    return None


def check(root):
    errors = []
    count = 0
    for folder in ('arch', 'core', os.path.join('tests', 'prog')):
        for path, text in sources(root, folder):
            count += 1
            for m in INCLUDE.finditer(text):
                line = text.count('\n', 0, m.start(1) if m.group(1) else m.start(2)) + 1
                why = include_error(path, m.group(1) is not None, m.group(1) or m.group(2))
                if why:
                    errors.append(f'{path}:{line}: {why}')
            if folder == 'core':
                for m in FOREIGN_WORDS.finditer(text):
                    line = text.count('\n', 0, m.start()) + 1
                    errors.append(f'{path}:{line}: core knows nothing of {m.group(0)}')
    if count == 0:
        errors.append(f'{root}: no sources found')
    return errors


def self_test():
    good = {
        'arch/arch.h': '#include <stdint.h>\n#include "arch_cpu.h"\n',
        'arch/cpu/ctx.S': '#include "arch/asm.h"\n#include <asm/unistd.h>\n',
        'core/a.c': '/* pthread_create and LD_PRELOAD may be talked about */\n#include "core/a.h" // <stdio.h>\n'
                    '// #include <stdio.h>\nconst char *s = "//"; #define X 1\n#include <linux/futex.h>\n',
        'core/netpoll.c': '#include <sys/epoll.h>\n',
        'tests/prog/p.c': '#include <pthread.h>\n#include "prog.h"\n',
    }
    bad = [
        ('arch/arch.h', '#include "core/gmp.h"\n', 'arch/arch.h:1: arch includes "core/gmp.h"'),
        ('arch/cpu/x.c', '#include <string.h>\n', 'includes <string.h>'),
        ('core/a.c', '\n\n#include "preload/hooks.h"\n', 'core/a.c:3: core includes "preload/hooks.h"'),
        ('core/a.c', '#include "a.h"\n', 'core includes "a.h"'),
        ('core/a.c', '# include <stdio.h>\n', 'includes <stdio.h>'),
        ('core/a.c', '#include <pthread.h>\n', 'includes <pthread.h>'),
        ('core/a.c', '#include <sys/socket.h>\n', 'includes <sys/socket.h>'),
        ('core/a.c', '#include <sys/epoll.h>\n', 'only core/netpoll.c may include <sys/epoll.h>'),
        ('core/a.h', '/* x */ void *t = (void *)pthread_create;\n', 'a.h:1: core knows nothing of pthread_create'),
        ('core/a.c', 'char *e = "/* */ LD_PRELOAD";\n', 'core knows nothing of LD_PRELOAD'),
        ('tests/prog/p.c', '#include "core/gmp.h"\n', 'p.c:1: a plain pthread program includes "core/gmp.h"'),
        ('tests/prog/p.c', '#include <core/gmp.h>\n', 'a plain pthread program includes "core/gmp.h"'),
    ]
    failed = 0
    for path, text, want in [(None, None, None)] + bad:
        with tempfile.TemporaryDirectory() as d:
            for p, t in {**good, **({path: text} if path else {})}.items():
                os.makedirs(os.path.dirname(os.path.join(d, p)), exist_ok=True)
                with open(os.path.join(d, p), 'w', encoding='utf-8') as fh:
                    fh.write(t)
            got = check(d)
        if (got != []) if want is None else not (len(got) == 1 and want in got[0]):
            print(f'self-test: {path}: {text!r}: want {want!r}, got {got}')
            failed = 1
    return failed


def main():
    if sys.argv[1:] == ['--self-test']:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    errors = check(sys.argv[1])
    for e in errors:
        print(e)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
