# SPDX-License-Identifier: MIT
"""gmprun top on a live process."""
import os
import re
import subprocess

from see import Waits, expect, need_look

GMPRUN = os.environ['GMP_RUN']


def top(*args):
    return subprocess.run([GMPRUN, 'top', *args], capture_output=True, text=True, timeout=600, check=False)


need_look()
waits = Waits('40')
r = top('-n', '2', '-d', '0.3', str(waits.child.pid))
expect(r.returncode == 0 and r.stderr == '', f'{r}')
first, second = r.stdout.split('gmprun top: ')[1:]
for text in (first, second):
    expect(re.search(r'41 threads, \d+ Ms \(\d+ with a thread\), 2 Ps \(\d running\)', text), text)
    expect(re.search(r'run queues: global \d+, local \[\d+ \d+\]', text), text)
    for state in ('35 mutex lock', '1 cond wait', '1 semaphore', '1 runn(ing|able)', '1 sleep', '2 IO wait'):
        expect(re.search(state, text), f'not there: {state}\n{text}')
    expect(re.search(r'^0x[0-9a-f]+ +35  mutex lock$', text, re.M), 'the lock most waited for:\n' + text)
    expect(re.search(r'^\d+ +semmy +\d+\.\d  semaphore, 0x', text, re.M), 'longest waits:\n' + text)
expect('per second: ' in second and 'per second: ' not in first, second)
waits.end()
r = top(str(os.getpid()))
expect(r.returncode == 1 and 'does not run under libgmpshim.so' in r.stderr, f'{r}')
