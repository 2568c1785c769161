# SPDX-License-Identifier: MIT
"""gmprun: starting, what it says beforehand, --check, wrong arguments."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from see import SHIM, WAITS, expect

GMPRUN = os.environ['GMP_RUN']


def run(*args, stdin='', **env):
    clean = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'GOMAXPROCS', 'GODEBUG')}
    return subprocess.run([GMPRUN, *args], input=stdin, capture_output=True, text=True, timeout=600, check=False,
                          env={**clean, **env})


def starts():
    r = run('-p', '3', '-s', WAITS, '8', stdin='\n')
    expect(r.returncode == 0 and r.stdout == 'ready\nbye\n', f'{r}')
    expect('gmpshim:   gomaxprocs 3\n' in r.stderr and 'gmpshim:   gs_made 8\n' in r.stderr, f'{r.stderr}')
    r = run('--', sys.executable, '-c', 'import os; print(os.environ["LD_PRELOAD"])', LD_PRELOAD='libm.so.6')
    expect(r.stdout == f'{os.path.realpath(SHIM)}:libm.so.6\n', f'LD_PRELOAD: {r}')
    r = run('sh', '-c', 'exit 7')
    expect(r.returncode == 7, f'the status of the program: {r}')


def usage():
    for args, message in (((), 'no program given'), (('-x',), 'no such option: -x'),
                          (('--bad', 'ls'), 'no such option'),
                          (('-p', '0', 'ls'), "-p wants a number from 1 to 256, not '0'"),
                          (('-p', '2x', 'ls'), "not '2x'"), (('-p',), 'an argument is missing'),
                          (('compare',), 'no server'), (('compare', '--', 'ls'), '--load'),
                          (('compare', '--load', 'x', '--rounds', '0', '--', 'ls'), 'at least 1'),
                          (('top',), 'PID'), (('top', 'x'), 'PID')):
        r = run(*args)
        lines = r.stderr.splitlines()
        expect(r.returncode == 2 and r.stdout == '', f'{args}: {r}')
        expect(lines[0].startswith('gmprun') and message in lines[0] and lines[1].startswith('usage: gmprun'),
               f'{args}: {r.stderr}')


def refused(path, message, status=126):
    r = run(path)
    expect(r.returncode == status and r.stdout == '', f'{path}: {r}')
    expect(re.fullmatch(rf'gmprun: {re.escape(path)}: [^\n]*{message}[^\n]*\n', r.stderr), f'{path}: {r.stderr}')


def complaints():
    with tempfile.TemporaryDirectory() as d:
        def program(name, mode=0o755, change=None):
            path = f'{d}/{name}'
            with open(WAITS, 'rb') as f:
                data = bytearray(f.read())
            if change:
                change(data)
            with open(path, 'wb') as f:
                f.write(data)
            os.chmod(path, mode)
            return path

        def machine(data):
            data[18:20] = (8).to_bytes(2, 'little')  # MIPS

        def without_interpreter(data):
            phoff = int.from_bytes(data[32:40], 'little')
            for i in range(int.from_bytes(data[56:58], 'little')):
                if data[phoff + 56 * i] == 3:
                    data[phoff + 56 * i:phoff + 56 * i + 4] = b'\0\0\0\0'

        def musl(data):
            at = data.index(b'/lib64/ld-linux-x86-64.so.2')
            data[at:at + 20] = b'/lib/ld-musl-x86.so\0'

        def go_note(data):
            at = data.index(b'GNU\0', data.index(b'ld-linux'))
            data[at:at + 4] = b'Go\0\0'

        refused(program('noexec', 0o644), 'not executable')
        refused(program('setuid', 0o4755), 'set-user-ID')
        refused(program('foreign', change=machine), 'another CPU architecture')
        refused(program('static', change=without_interpreter), 'statically linked')
        refused(program('musl', change=musl), 'musl')
        refused(program('go', change=go_note), 'Go program')
        refused(d, 'is a directory')
        refused(f'{d}/nothing', 'not found', 127)
        refused('no-such-program-anywhere', 'not found', 127)
        script = f'{d}/script'
        with open(script, 'w', encoding='utf-8') as f:
            f.write('#! /bin/sh\necho ran "$@"\n')
        os.chmod(script, 0o755)
        r = run(script, 'x')
        expect(r.stdout == 'ran x\n', f'a script: {r}')
        r = run('--check', script)
        expect(r.returncode == 0 and r.stderr == '' and re.match(f'{script} is a script of /bin/sh, ', r.stdout) and
               'passes to libc: ' in r.stdout, f'--check of a script: {r}')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(f'#!/usr/bin/env -S {os.path.basename(sys.executable)} -u\n')
        r = run('--check', script)
        expect(re.match(f'{script} is a script of [^ ]*/{os.path.basename(sys.executable)}, ', r.stdout), f'env: {r}')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(f'#!{d}/nobody\n')
        r = run(script)
        expect(r.returncode == 126 and r.stderr == f'gmprun: {d}/nobody: No such file or directory\n', f'{r}')
        for odd, works in (('a"b$(c)\'d\\e;f', True), ('a b', False), ('a:b', False)):
            for name in ('bin', 'lib'):
                os.makedirs(f'{d}/{odd}/{name}')
            shutil.copy(GMPRUN, f'{d}/{odd}/bin/gmprun')
            shutil.copy(os.path.realpath(SHIM), f'{d}/{odd}/lib/libgmpshim.so')
            r = subprocess.run([f'{d}/{odd}/bin/gmprun', '-s', WAITS, '8'], input='\n', capture_output=True, text=True,
                               timeout=600, check=False)
            if works:
                expect(r.returncode == 0 and 'gs_made 8' in r.stderr, f'installed in {odd}: {r}')
            else:
                expect(r.returncode == 126 and r.stderr == f'gmprun: {d}/{odd}/lib/libgmpshim.so: LD_PRELOAD takes no '
                       'path with a space or a colon\n', f'installed in {odd}: {r}')
        r = run('-f', program('setuid2', 0o4755), '3', stdin='\n')
        expect(r.returncode == 0 and 'set-user-ID' in r.stderr and r.stdout == 'ready\nbye\n', f'-f: {r}')
        shutil.copy(WAITS, f'{d}/moved')
        r = run('--check', f'{d}/moved')
        expect(r.returncode == 0 and r.stderr == '', f'--check: {r}')
        lists = dict(re.findall(r'^(\S.*?): \d+\n((?:    .*\n)*)', r.stdout, re.M))
        names = {title.split(' (')[0]: set(text.split()) for title, text in lists.items()}
        expect({'pthread_mutex_lock', 'sem_wait', 'sleep', 'read'} <= names['parks'], f'{names}')
        expect('pthread_create' in names['handled without waiting'], f'{names}')
        expect('strcmp' in names['passes to libc'] or 'strtol' in names['passes to libc'], f'{names}')
        for title, text in re.findall(r'^(\S.*): (\d+)$', r.stdout, re.M):
            expect(len(names[title.split(' (')[0]]) == int(text), f'{title}: not {text} names')


starts()
usage()
complaints()
