# SPDX-License-Identifier: MIT
"""What the tests of this folder share: running the program `waits` under the shim."""
import os
import re
import subprocess
import sys
import threading

SHIM, WAITS = os.environ['GMP_SHIM'], os.environ['GMP_WAITS']
TIMEOUT = 120


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


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def expect(ok, message):
    if not ok:
        fail(message)
