#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gmprun trace: records what the scheduler of a process does, as a file for ui.perfetto.dev and chrome://tracing.

A program that it starts records from its first thread to its end (GMPSHIM_TRACE). A live process is asked through its
memory, with a debugger's permissions: its sysmon records into a memfd, which is read from here and turned into JSON by
gmprun. Nothing else of the process changes.
"""
import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time

import gmplook

USAGE = """usage: gmprun trace [-d SECONDS] [-m MB] [-o FILE] PID
       gmprun trace [-m MB] [-o FILE] -- PROGRAM [ARGUMENT...]
       gmprun trace --convert FILE"""
SIG_NOTIFY = 33  # the library's own; sysmon lets nothing else in
OFF, RECORDING, DONE = 0, 1, 2
MAGIC = b'GPT1'
ANSWER_S = 5
libc = ctypes.CDLL(None, use_errno=True)


class Control:
    """struct trace_ctl of the process (core/evtrace.h)."""

    def __init__(self, process):
        self.process = process
        if 'trace' not in process.view:
            raise gmplook.NoShim(f'process {process.pid} has a library without this kind of trace')

    def get(self, name, form='<I'):
        return self.process.number(self.process.view['trace'], f'trace.{name}', form)

    def set(self, name, value):
        self.process.write(self.process.view['trace'] + self.process.view[f'trace.{name}'],
                           value.to_bytes(4, 'little'))

    def ask(self, want):
        """Ask for a state and wait for it; sysmon sleeps while the process idles."""
        self.set('want', want)
        begin = time.monotonic()
        while (state := self.get('state')) != want:
            if state > DONE:
                raise gmplook.NoShim(f'process {self.process.pid} cannot record: '
                                     f'{os.strerror((1 << 32) - state)}')
            if time.monotonic() - begin > ANSWER_S:
                raise gmplook.NoShim(f'process {self.process.pid} does not answer: it is stopped, or it writes a trace '
                                     'of its own (GMPSHIM_TRACE)')
            libc.tgkill(self.process.pid, self.get('sysmon', '<i'), SIG_NOTIFY)
            time.sleep(0.02)


def say(text):
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K' + text)
        sys.stderr.flush()


def interrupted(signo, _frame):
    raise KeyboardInterrupt


def convert(gmprun, raw, out):
    subprocess.run([gmprun, 'trace', '--convert', raw], stdout=out, check=True)


def record(args):
    """A live process, for a while."""
    control = Control(gmplook.Process(args.pid, writable=True))
    if control.get('sysmon', '<i') == 0:
        raise gmplook.NoShim(f'process {args.pid} has made no threads yet')
    if control.get('state') == RECORDING:
        raise gmplook.NoShim(f'process {args.pid} is being recorded already')
    with open(args.out, 'wb') as out, tempfile.NamedTemporaryFile(prefix='gmprun-trace.') as raw:
        control.set('ms', int(args.seconds * 1000))
        control.set('limit_mb', args.mb)
        control.ask(RECORDING)
        took = collect(args, control, raw)
        convert(args.gmprun, raw.name, out)
    print(f'{args.out}: {took:.1f} s of process {args.pid}; open it in ui.perfetto.dev or chrome://tracing')
    return 0


def collect(args, control, raw):
    """What the process records, until the time is over, the user has enough, or it ends; how long that took."""
    with open(f'/proc/{args.pid}/fd/{control.get("fd", "<i")}', 'rb') as data:
        begin = time.monotonic()
        try:
            while (left := begin + args.seconds - time.monotonic()) > 0 and control.get('state') == RECORDING:
                say(f'recording process {args.pid}: {left:.0f} s left')
                time.sleep(min(left, 0.1))
        except KeyboardInterrupt:
            pass
        except gmplook.NoShim:
            say(f'process {args.pid} has ended\n')
        took = time.monotonic() - begin
        say('')
        try:
            control.ask(DONE)
        except gmplook.NoShim:
            pass  # the data are still there
        while piece := data.read(1 << 20):
            raw.write(piece)
        raw.flush()
    try:
        control.ask(OFF)
    except gmplook.NoShim:
        pass
    return took


def run(args):
    """A program from its beginning to its end."""
    env = dict(os.environ, GMPSHIM_TRACE=os.path.abspath(args.out), GMPSHIM_TRACE_MB=str(args.mb))
    if os.path.exists(args.out):
        os.unlink(args.out)
    with subprocess.Popen([args.gmprun, '--', *args.program], env=env) as child:
        for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(signo, lambda n, _frame: child.send_signal(n))
        status = child.wait()
    if not os.path.exists(args.out):
        if status not in (126, 127):
            print('gmprun trace: the program made no threads: there is no trace', file=sys.stderr)
        return status if status > 0 else 1
    with open(args.out, 'r+b') as f:
        if f.read(4) == MAGIC:  # it was ended by a signal
            with tempfile.NamedTemporaryFile(prefix='gmprun-trace.') as json:
                convert(args.gmprun, args.out, json)
                json.seek(0)
                f.seek(0)
                f.truncate()
                while piece := json.read(1 << 20):
                    f.write(piece)
    print(f'{args.out}: open it in ui.perfetto.dev or chrome://tracing', file=sys.stderr)
    return status if status >= 0 else 128 - status


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f'gmprun trace: {message}\n{USAGE}', file=sys.stderr)
        sys.exit(2)


def seconds(text):
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError('must be above 0, and a day at most')
    return value


def megabytes(text):
    value = int(text)
    if not 1 <= value <= 4096:
        raise argparse.ArgumentTypeError('must be from 1 to 4096')
    return value


def main():
    argv = sys.argv[1:]
    cut = argv.index('--') if '--' in argv else len(argv)
    p = Parser(prog='gmprun trace', description=__doc__.splitlines()[0], usage=USAGE[7:])
    p.add_argument('--shim', help=argparse.SUPPRESS)
    p.add_argument('--gmprun', help=argparse.SUPPRESS)
    p.add_argument('-o', dest='out', default='gmprun-trace.json', metavar='FILE', help='where to (gmprun-trace.json)')
    p.add_argument('-d', dest='seconds', type=seconds, default=5.0, help='how long (5); Ctrl-C ends it early')
    p.add_argument('-m', dest='mb', type=megabytes, default=32,
                   help='how large the raw trace may become (32); the JSON file is some 10 times that')
    p.add_argument('pid', type=int, nargs='?', metavar='PID')
    args = p.parse_args(argv[:cut])
    args.program = argv[cut + 1:]
    if (args.pid is None) == (not args.program):
        p.error('wants a PID, or a program after --')
    try:
        if args.program:
            return run(args)
        for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(signo, interrupted)
        return record(args)
    except (gmplook.NoShim, OSError) as e:
        say('')
        print(f'gmprun trace: {e}', file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        return 1


if __name__ == '__main__':
    sys.exit(main())
