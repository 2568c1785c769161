# SPDX-License-Identifier: MIT
"""gdb in batch mode on a live process and on its core file: list, select and trace threads."""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

import see
from see import SHIM, SKIP, WAITS, Waits, expect

COMMANDS = ('info gthreads', 'gthread 7', 'bt', 'gthread 0', 'gthread apply all bt')


def gdb(*args):
    command = ['gdb', '-nx', '-batch', '-iex', f'add-auto-load-safe-path {os.path.realpath(SHIM)}', '-iex',
               'set debuginfod enabled off', *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL)


def check(what, text):
    rows = re.findall(r'^[ *] (\d+) +\[([^\]]+)\](?: on LWP \d+)?(?: "(\w+)")? (\S+)$', text, re.M)
    expect(len(rows) == 13, f'{what}: info gthreads shows {len(rows)}:\n{text}')
    expect(('3', 'semaphore', 'semmy', 'wait_sem') in rows and ('8', 'mutex lock', '', 'wait_mutex') in rows,
           f'{what}: {rows}')
    one = text.split('\n', 13)[-1].split('Gthread 1 ')[0]
    frames = re.findall(r'^#(\d+) +(?:0x[0-9a-f]+ in )?(\w+) \(', one, re.M)
    names = [f[1] for f in frames]
    expect(names.count('deep_in_program') == 4 and 'pthread_mutex_lock' in names and 'wait_mutex' in names,
           f'{what}: bt of a parked thread: {names}\n{one}')
    blocks = dict(re.findall(r'^Gthread (\d+) \[.*\n((?:#.*\n?)*)', text, re.M))
    expect(len(blocks) == 13, f'{what}: gthread apply all: {len(blocks)} blocks')
    for number, function in (('1', 'main'), ('2', 'wait_cond'), ('3', 'wait_sem'), ('4', 'wait_socket'),
                             ('5', 'wait_sleep'), ('6', 'burn'), ('9', 'wait_mutex')):
        expect(f'{function} (' in blocks[number], f'{what}: no frame of {function}:\n{blocks[number]}')


if shutil.which('gdb') is None:
    print('skipped: no gdb')
    sys.exit(SKIP)
with tempfile.TemporaryDirectory() as d:
    shutil.copy(WAITS, f'{d}/bare')
    if shutil.which('strip'):
        subprocess.run(['strip', f'{d}/bare'], check=True)
        see.WAITS = f'{d}/bare'
        waits = Waits('12')
        see.WAITS = WAITS
        text = gdb('-p', str(waits.child.pid), '-ex', 'info gthreads', '-ex', 'gthread 7', '-ex', 'bt').stdout
        waits.end()
        if 'mutex lock' in text:
            expect(re.search(r'^  7 +\[mutex lock\] 0x[0-9a-f]+$', text, re.M) and 'thread_main (' in text,
                   f'a stripped program: {text}')
waits = Waits('12')
pid = str(waits.child.pid)
more = [x for c in COMMANDS for x in ('-ex', c)]
live = gdb('-p', pid, *more)
if 'ptrace: Operation not permitted' in live.stderr:
    print('skipped: gdb may not attach')
    sys.exit(SKIP)
check('live', live.stdout)
expect(waits.child.poll() is None, 'gdb ended the program')
status, out, _ = waits.end()
expect(status == 0 and out == 'bye\n', f'after gdb: status {status}')
with open('/proc/sys/kernel/core_pattern', encoding='utf-8') as f:
    here = f.read().strip() == 'core'
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
if here and hard == resource.RLIM_INFINITY:  # else the kernel gives the core file to somebody else
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        Waits('12', 'abort', GOTRACEBACK='none').end()
        cores = [name for name in os.listdir(d) if name.startswith('core')]
        expect(len(cores) == 1, f'core files: {cores}')
        check('core', gdb(WAITS, '-c', f'{d}/{cores[0]}', *more).stdout)
        os.chdir('/')
