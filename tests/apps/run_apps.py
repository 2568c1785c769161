#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Start installed programs natively and under the shim on loopback, drive them, verify each byte, stop them.

run_apps.py --shim SO [--procs 1,2,8] [APP...]    exit status: 0 good, 1 bad, 77 nothing of it is installed
run_apps.py --shim SO --table [--rounds 5] [--seconds 3] [--readme FILE] [APP...]

An APP is a command or a title of programs.py; without one, all of them. --table prints the compatibility table
(Markdown). Its ratios are medians over rounds, in each of which the program runs natively and under the shim, at the
number of Ps the machine has, one after the other. With --readme it replaces the rows of these programs in FILE,
between the two marks.
"""
import argparse
import http.server
import lzma
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from programs import APPS, DEADLINE, Bad, version, wait_port

MARKS = ("<!-- apps: made by tests/apps/run_apps.py --table -->\n", "<!-- apps: end -->\n")
HEAD = ("| program | version | how it uses threads | GOMAXPROCS 1, 2, 8 | throughput | CPU per operation |\n"
        "|---|---|---|---|---|---|\n")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Backend(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *args):  # clients vanish on purpose
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def group_left(pgid):
    try:
        os.killpg(pgid, 0)
        return True
    except OSError:
        return False


def session_cpu(sid):
    """CPU seconds of all processes of a session, and of their children that have ended."""
    ticks = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == sid:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def children_cpu():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


class Run:
    """One start of a program: files, port, process. Leaves its exit status and, if timed, operations, seconds, CPU."""

    def __init__(self, app, files, workdir, backend, shim, procs, seconds):
        self.app, self.files, self.dir, self.port, self.backend = app, files, workdir, free_port(), backend
        args = app.args(self)
        env = {k: v for k, v in os.environ.items()
               if k not in ("LD_PRELOAD", "GOMAXPROCS", "GODEBUG") and not k.startswith("GMPSHIM")}
        if shim:
            env.update(LD_PRELOAD=os.path.abspath(shim), GOMAXPROCS=str(procs))
        before = children_cpu()
        with tempfile.TemporaryFile() as err:
            self.proc = subprocess.Popen(args, env=env, stdin=subprocess.PIPE, stderr=err, cwd=workdir,
                                         stdout=subprocess.PIPE if not app.stop else err, start_new_session=True)
            try:
                self.session(shim, seconds)
            except (OSError, subprocess.TimeoutExpired, EOFError, lzma.LZMAError) as e:
                raise Bad(repr(e)) from e
            finally:
                if group_left(self.proc.pid):
                    os.killpg(self.proc.pid, signal.SIGKILL)
                self.proc.wait()
            err.seek(0)
            said = [x for x in err.read().decode(errors="replace").splitlines() if "gmpshim" in x]
            if said:
                raise Bad("it said: " + said[0])
        if not app.stop:
            self.cpu = children_cpu() - before

    def session(self, shim, seconds):
        start = time.monotonic()
        if self.app.stop:
            wait_port(self)
        if shim:
            self.wait_shim()
        self.ops = self.app.drive(self)
        if seconds and self.app.stop:
            start, before, self.ops = time.monotonic(), session_cpu(self.proc.pid), 0
            while time.monotonic() - start < seconds:
                self.ops += self.app.load(self, seconds) if self.app.load else self.app.drive(self)
            self.cpu = session_cpu(self.proc.pid) - before
        self.seconds = time.monotonic() - start
        if self.app.stop:
            if self.proc.poll() is not None:
                raise Bad("it ended under load with status %d" % self.proc.returncode)
            self.proc.send_signal(self.app.stop)
        self.status = self.proc.wait(DEADLINE)
        if group_left(self.proc.pid):
            raise Bad("it left processes behind")

    def wait_shim(self):
        """Between fork and exec, and while ld.so maps libraries, it is not there yet."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.proc.poll() is None:
            with open("/proc/%d/maps" % self.proc.pid) as f:
                if "libgmpshim" in f.read():
                    return
            time.sleep(0.002)
        if self.app.stop or self.proc.poll() is None:
            raise Bad("the shim is not in the process")


def make_files(workdir):
    r = random.Random(7)
    words = ["%x" % r.getrandbits(r.randint(8, 40)) for _ in range(4000)]
    files = {"small": " ".join(words[:200]).encode(), "big": " ".join(words * 12).encode()}
    for name, data in files.items():
        with open(os.path.join(workdir, name), "wb") as f:
            f.write(data)
    files["text"] = " ".join(r.choices(words, k=500000)).encode()
    files["text"] += b" " * (-len(files["text"]) % (1 << 20))
    return files


def verify(app, procs, start):
    """Pairs of GOMAXPROCS and what failed there, or None."""
    want = start(app, False, 0)
    for p in procs:
        try:
            got = start(app, True, p)
            if got.status != want.status:
                raise Bad("%s, GOMAXPROCS=%d: exit status %d, natively %d" % (app.title, p, got.status, want.status))
            print("%-20s GOMAXPROCS=%d ok" % (app.title, p), flush=True)
            yield p, None
        except Bad as e:
            print("FAILED: %s" % e, flush=True)
            yield p, e


def row(app, procs, rounds, seconds, start):
    faster, dearer = [], []
    results = ["ok" if e is None else "fails" for _, e in verify(app, procs, start)]
    try:
        for i in range(rounds):
            pair = {}
            for shim in (False, True) if i % 2 == 0 else (True, False):
                pair[shim] = start(app, shim, os.cpu_count(), seconds)
            a, b = pair[False], pair[True]
            faster.append(b.ops / b.seconds / (a.ops / a.seconds))
            dearer.append(b.cpu / b.ops / (a.cpu / a.ops))
        ratios = ["%.2f" % statistics.median(x) for x in (faster, dearer)]
    except Bad as e:
        print(e, file=sys.stderr)
        ratios = ["", ""]
    return "| %s | %s | %s | %s | %s |\n" % (app.title, version(app), app.how, ", ".join(results), " | ".join(ratios))


def update_readme(path, rows):
    """Rows of other programs stay; the order is that of APPS."""
    with open(path) as f:
        head, _, rest = f.read().partition(MARKS[0])
    old, _, tail = rest.partition(MARKS[1])
    have = {line.split("|")[1].strip(): line + "\n" for line in old.splitlines() if re.match(r"\| \S", line)}
    have.update(rows)
    with open(path, "w") as f:
        f.write(head + MARKS[0] + HEAD + "".join(have[a.title] for a in APPS if a.title in have) + MARKS[1] + tail)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shim", required=True)
    p.add_argument("--procs", default="1,2,8")
    p.add_argument("--table", action="store_true")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--readme")
    p.add_argument("app", nargs="*")
    args = p.parse_args()
    procs = [int(x) for x in args.procs.split(",")]
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    titles = {a.title for a in APPS}
    apps = [a for a in APPS if not args.app or a.title in args.app or a.name in set(args.app) - titles]
    for a in apps[:]:
        missing = [n for n in a.needs if not shutil.which(n)]
        if missing:
            print("skipped: %s: %s is not installed" % (a.title, missing[0]))
            apps.remove(a)
    if not apps:
        return 77
    with tempfile.TemporaryDirectory() as workdir:
        os.chmod(workdir, 0o755)
        files = make_files(workdir)
        backend = Backend(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=workdir))
        threading.Thread(target=backend.serve_forever, daemon=True).start()

        def start(app, shim, n, seconds=0):
            try:
                return Run(app, files, workdir, backend.server_address[1], args.shim if shim else None, n, seconds)
            except Bad as e:
                raise Bad("%s, %s: %s" % (app.title, "GOMAXPROCS=%d" % n if shim else "native", e)) from e

        if not args.table:
            try:
                return int(any(e for app in apps for _, e in verify(app, procs, start)))
            except Bad as e:
                print("FAILED: %s" % e)
                return 1
        rows = {}
        for a in apps:
            try:
                rows[a.title] = row(a, procs, args.rounds, args.seconds, start)
            except Bad as e:  # natively: the program or this machine is to blame
                print(e, file=sys.stderr)
        sys.stdout.write(HEAD + "".join(rows.values()))
        if args.readme:
            update_readme(args.readme, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
