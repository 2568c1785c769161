#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run a program natively and under the shim; stdout and exit status must be the same.

run_prog.py --shim SO --procs 1,2,8 [--env K=V]... [--timeout S] [--repeat N] [--no-native] PROG [ARGS...]

Exit status: 0 all runs equal, 1 otherwise, 2 wrong usage, 77 when the native run exits 77 (skip). With
--no-native a run passes when it exits 0. A run that exceeds the timeout is killed with its process group;
before that, the program named by RUN_PROG_ON_TIMEOUT is run with the PID of every process of the group.
"""

import argparse
import difflib
import os
import signal
import subprocess
import sys
import tempfile

SKIP = 77
SHOWN = 8000  # bytes of each stream that a report shows
OURS = ("LD_PRELOAD", "GOMAXPROCS", "GODEBUG")  # and GMPSHIM_*: not for the native run


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shim", help="path of libgmpshim.so; without it only the native run is made")
    parser.add_argument("--procs", default="1,2,8", help="GOMAXPROCS values, separated by commas")
    parser.add_argument("--env", action="append", default=[], metavar="K=V", help="for shimmed runs")
    parser.add_argument("--timeout", type=float, default=240.0, metavar="SECONDS", help="per run")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="shimmed runs per GOMAXPROCS")
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("prog")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    opts = parser.parse_args()
    for item in opts.env:
        if "=" not in item:
            parser.error("--env wants K=V, not %r" % item)
    if opts.shim and not os.path.exists(opts.shim):
        parser.error("no such file: %s" % opts.shim)
    if not opts.shim and opts.no_native:
        parser.error("nothing to run")
    return opts


def clean_env():
    return {k: v for k, v in os.environ.items() if k not in OURS and not k.startswith("GMPSHIM_")}


def group_pids(pgid):
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pgid and fields[0] != "Z":
            pids.append(int(name))
    return sorted(pids)


def on_timeout(pgid):
    """Returns the text for the report."""
    pids = group_pids(pgid)
    text = "TIMEOUT, processes %s\n" % " ".join(map(str, pids))
    helper = os.environ.get("RUN_PROG_ON_TIMEOUT")
    for pid in pids if helper else []:
        try:
            done = subprocess.run([helper, str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=60, env=clean_env(), check=False)
            text += "%s %d:\n%s\n" % (helper, pid, done.stdout.decode(errors="replace"))
        except (OSError, subprocess.TimeoutExpired) as e:
            text += "%s %d: %s\n" % (helper, pid, e)
    return text


class Run:
    """One run: name, status, out, err and, on a timeout, the report text."""

    def __init__(self, name, cmd, env, timeout):
        self.name = name
        self.timed_out = None
        # Files, not pipes: a process left behind by the program must not hold us up.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            proc = subprocess.Popen(cmd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    start_new_session=True)
            try:
                proc.wait(timeout)
            except subprocess.TimeoutExpired:
                self.timed_out = on_timeout(proc.pid)
            finally:
                # Also after a normal end: whatever the program left in its group.
                try:
                    os.killpg(proc.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
                proc.wait()
            self.status = proc.returncode
            out.seek(0)
            err.seek(0)
            self.out = out.read()
            self.err = err.read()

    def status_text(self):
        if self.timed_out:
            return "timed out"
        if self.status < 0:
            try:
                return "killed by %s" % signal.Signals(-self.status).name
            except ValueError:
                return "killed by signal %d" % -self.status
        return "exit %d" % self.status


def clip(data):
    text = data.decode(errors="backslashreplace")
    return text if len(text) <= SHOWN else text[:SHOWN // 2] + "\n[...]\n" + text[-SHOWN // 2:]


def report(run, native):
    print("FAIL %s: %s%s" % (run.name, run.status_text(),
                             ", native %s" % native.status_text() if native else ""))
    if run.timed_out:
        print(run.timed_out, end="")
    if native and run.out != native.out:
        diff = difflib.unified_diff(clip(native.out).splitlines(), clip(run.out).splitlines(),
                                    "native stdout", run.name + " stdout", lineterm="")
        print("\n".join(diff))
    elif not native and run.out:
        print("--- stdout\n%s" % clip(run.out))
    if run.err:
        print("--- stderr\n%s" % clip(run.err))
    sys.stdout.flush()


def usual_signals():
    """No signal is ignored or blocked when a program starts, though nohup, or a shell's &, ignores some."""
    for sig in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
        signal.signal(sig, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the default action in a program
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def main():
    opts = parse_args()
    usual_signals()
    cmd = [opts.prog] + opts.args
    native = None
    failures = 0
    runs = 0

    if not opts.no_native:
        native = Run("native", cmd, clean_env(), opts.timeout)
        if native.timed_out:
            report(native, None)
            return 1
        if native.status == SKIP:
            print("SKIP: %s" % clip(native.out + native.err).strip())
            return SKIP
        if native.status == 1 or native.status < 0:  # a CHECK of the program, or a crash
            report(native, None)
            return 1
    for procs in opts.procs.split(",") if opts.shim else []:
        env = clean_env()
        env.update(LD_PRELOAD=os.path.abspath(opts.shim), GOMAXPROCS=procs, GMPSHIM_EXPECT_LIVE="1")
        env.update(item.split("=", 1) for item in opts.env)
        for i in range(opts.repeat):
            name = "GOMAXPROCS=%s%s" % (procs, " run %d" % (i + 1) if opts.repeat > 1 else "")
            run = Run(name, cmd, env, opts.timeout)
            runs += 1
            if native:
                good = not run.timed_out and run.status == native.status and run.out == native.out
            else:
                good = not run.timed_out and run.status == 0
            if not good:
                report(run, native)
                failures += 1
    print("%s: %d of %d shimmed runs %s" % (os.path.basename(opts.prog), runs - failures, runs,
                                            "equal to native" if native else "exit 0"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
