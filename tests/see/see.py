# SPDX-License-Identifier: MIT
"""What the tests of this folder share: running the program `waits` under the shim."""
import os
import re
import signal
import subprocess
import sys
import threading

SHIM, WAITS, GMPRUN = (os.environ[n] for n in ('GMP_SHIM', 'GMP_WAITS', 'GMP_RUN'))
TIMEOUT = 600
SKIP = 77

# nohup, or a shell's &, ignores some signals; a program whose SIGQUIT is ignored writes no dump
for sig in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(sig, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


class Waits:
    """The program under the shim, ready and waiting."""

    def __init__(self, *args, procs='2', **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith('GMPSHIM_') and k not in ('GODEBUG',)}
        self.child = subprocess.Popen([WAITS, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True,
                                      env=dict(clean, LD_PRELOAD=SHIM, GOMAXPROCS=procs, **env))
        self.killer = threading.Timer(TIMEOUT, self.child.kill)
        self.killer.daemon = True
        self.killer.start()
        line = self.child.stdout.readline()
        expect(line == 'ready\n', f'the program said {line!r}')
        self.all_wait()

    def all_wait(self):
        """Ready is said a moment before the last thread waits; on a busy machine that can be long."""
        while self.child.poll() is None:
            r = subprocess.run([GMPRUN, 'top', '-n', '1', str(self.child.pid)], capture_output=True, text=True,
                               timeout=TIMEOUT, check=False)
            if r.returncode != 0:  # it may not look into another process here
                return
            states = re.search('^threads: (.*)$', r.stdout, re.M)[1].split(', ')
            counts = {state.partition(' ')[2]: int(state.partition(' ')[0]) for state in states}
            if counts.get('running', 0) + counts.get('runnable', 0) + counts.get('syscall', 0) <= 1:  # one computes
                return

    def lines(self, until):
        """stderr up to the line that matches."""
        seen = []
        for line in self.child.stderr:
            seen.append(line.rstrip('\n'))
            if re.search(until, line):
                return seen
        return fail(f'{until!r} never came; stderr:\n' + '\n'.join(seen))

    def end(self, go=True):
        """Lets it go on and returns (status, stdout, stderr)."""
        if go:
            out, err = self.child.communicate('\n')
        else:  # with stdin open: the end of it would let it go on
            err, out = self.child.stderr.read(), self.child.stdout.read()
            self.child.wait()
        self.killer.cancel()
        return self.child.returncode, out, err


def may_look():
    """Whether a process may read the memory of another that is not its child, as the tools do."""
    with subprocess.Popen([WAITS, '1'], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        look = subprocess.run(['sh', '-c', f': < /proc/{other.pid}/mem'], stderr=subprocess.DEVNULL, check=False)
        other.communicate(b'\n')
    return look.returncode == 0


def need_look():
    if not may_look():
        print('skipped: no process may look into another here')
        sys.exit(SKIP)


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def expect(ok, message):
    if not ok:
        fail(message)
