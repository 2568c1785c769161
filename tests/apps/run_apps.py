#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Start installed programs natively and under the shim on loopback, drive them, verify each byte, stop them.

run_apps.py --shim SO [--procs 1,2,8] [APP...]           exit status: 0 good, 1 bad, 77 an APP is not installed
run_apps.py --shim SO --table [--rounds 5] [--readme FILE] [APP...]

--table prints the compatibility table (Markdown): CPU seconds per operation divided by those of the native run made
just before, medians. With --readme it replaces what stands between the two marks in FILE.
"""
import argparse
import gzip
import http.server
import lzma
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MARKS = ("<!-- apps: made by tests/apps/run_apps.py --table -->\n", "<!-- apps: end -->\n")
DEADLINE = 30  # seconds for one step: a hang, not slowness
CONNS = 48


class Bad(Exception):
    pass


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def receive(sock, size=None):
    """size bytes, or all until the end."""
    parts, left = [], size
    while left is None or left > 0:
        got = sock.recv(65536 if left is None else min(left, 65536))
        if not got:
            break
        parts.append(got)
        left = None if left is None else left - len(got)
    return b"".join(parts)


def expect(got, want, what):
    if got != want:
        raise Bad("%s: got %d bytes %r..., want %d bytes %r..." % (what, len(got), got[:60], len(want), want[:60]))


def drive_memcached(run):
    conns = [connect(run.port) for _ in range(CONNS)]
    for i in range(40):
        value = {c: b"%d/%d:" % (i, n) * (1 + 97 * n) for n, c in enumerate(conns)}
        for n, c in enumerate(conns):
            c.sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (n, len(value[c]), value[c]))
        for c in conns:
            expect(receive(c, 8), b"STORED\r\n", "set")
        for n, c in enumerate(conns):
            c.sendall(b"get k%d\r\n" % ((n + 1) % CONNS))
        for n, c in enumerate(conns):
            v = value[conns[(n + 1) % CONNS]]
            want = b"VALUE k%d 0 %d\r\n%s\r\nEND\r\n" % ((n + 1) % CONNS, len(v), v)
            expect(receive(c, len(want)), want, "get")
        if i % 10 == 9:  # clients come and go
            for n in range(0, CONNS, 3):
                conns[n].close()
                conns[n] = connect(run.port)
    return 2 * 40 * CONNS


def drive_http(run):
    prefix = "http://127.0.0.1:%d" % run.backend if run.backend else ""
    for i in range(8):
        conns = [connect(run.port) for _ in range(CONNS)]
        for n, c in enumerate(conns):
            if n % 16 == 7:  # one that vanishes
                c.sendall(b"GET %s/big HTTP/1.0\r\n" % prefix.encode())
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.close()
            else:
                c.sendall(b"GET %s/%s HTTP/1.0\r\n\r\n" % (prefix.encode(), b"big" if n % 16 == 0 else b"small"))
        for n, c in enumerate(conns):
            if n % 16 != 7:
                head, _, body = receive(c).partition(b"\r\n\r\n")
                expect(head.split()[1:2], [b"200"], "status")
                expect(body, run.files["big" if n % 16 == 0 else "small"], "body")
                c.close()
    return 8 * CONNS


def drive_filter(run):
    out, _ = run.proc.communicate(run.files["text"], timeout=4 * DEADLINE)
    expect((gzip if run.app.name == "pigz" else lzma).decompress(out), run.files["text"], "decompressed")
    return len(run.files["text"]) >> 20


def args_tinyproxy(run):
    conf = os.path.join(run.dir, "conf")
    with open(conf, "w") as f:
        f.write("Port %d\nListen 127.0.0.1\nTimeout 30\nMaxClients 200\nLogLevel Critical\n" % run.port)
    return ["tinyproxy", "-d", "-c", conf]


class App:
    def __init__(self, name, version, args, drive, stop=None, proxy=False):
        self.name, self.version, self.args, self.drive, self.stop, self.proxy = name, version, args, drive, stop, proxy


APPS = [
    App("memcached", ["-V"],
        lambda r: ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(r.port), "-U", "0", "-t", "4"],
        drive_memcached, signal.SIGTERM),
    App("tinyproxy", ["-v"], args_tinyproxy, drive_http, signal.SIGTERM, proxy=True),
    App("civetweb", None,
        lambda r: ["civetweb", "-document_root", r.dir, "-listening_ports", "127.0.0.1:%d" % r.port,
                   "-num_threads", "64"],
        drive_http, signal.SIGTERM),
    App("python3", ["-V"],
        lambda r: ["python3", "-c", "import http.server as h; h.ThreadingHTTPServer.request_queue_size = 128; "
                   "h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port=%d, bind='127.0.0.1')" % r.port],
        drive_http, signal.SIGINT),
    App("pigz", ["-V"], lambda r: ["pigz", "-p", "8", "-c"], drive_filter),
    App("xz", ["-V"], lambda r: ["xz", "-T", "4", "--block-size=512KiB", "-1", "-c"], drive_filter),
]


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


class Run:
    """One start of a program: files, port, process; leaves CPU seconds, operations and exit status."""

    def __init__(self, app, files, workdir, backend, shim, procs):
        self.app, self.files, self.dir, self.port = app, files, workdir, free_port()
        self.backend = backend if app.proxy else None
        env = {k: v for k, v in os.environ.items()
               if k not in ("LD_PRELOAD", "GOMAXPROCS", "GODEBUG") and not k.startswith("GMPSHIM")}
        if shim:
            env.update(LD_PRELOAD=os.path.abspath(shim), GOMAXPROCS=str(procs))
        with tempfile.TemporaryFile() as err:
            self.proc = subprocess.Popen(app.args(self), env=env, stdin=subprocess.PIPE, stderr=err, cwd=workdir,
                                         stdout=subprocess.PIPE if not app.stop else err, start_new_session=True)
            try:
                self.session(shim)
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

    def session(self, shim):
        before = os.times()
        if self.app.stop:
            self.wait_port()
        else:
            time.sleep(0.1)  # past the exec; it waits for its input
        if shim:
            with open("/proc/%d/maps" % self.proc.pid) as f:
                if "libgmpshim" not in f.read():
                    raise Bad("the shim is not in the process")
        self.ops = self.app.drive(self)
        if self.app.stop:
            if self.proc.poll() is not None:
                raise Bad("it ended under load with status %d" % self.proc.returncode)
            self.proc.send_signal(self.app.stop)
        self.status = self.proc.wait(DEADLINE)
        after = os.times()
        self.cpu = after.children_user + after.children_system - before.children_user - before.children_system
        if group_left(self.proc.pid):
            raise Bad("it left processes behind")

    def wait_port(self):
        end = time.monotonic() + DEADLINE
        while True:
            try:
                return connect(self.port).close()
            except ConnectionRefusedError:
                if self.proc.poll() is not None or time.monotonic() > end:
                    raise Bad("it never listened") from None
                time.sleep(0.02)


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


def version(app):
    if not app.version:
        return ""
    out = subprocess.run([app.name] + app.version, capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL)
    words = (out.stdout + out.stderr).split("\n")[0].split()
    return next((w.strip("()") for w in words if w[:1].isdigit()), "")


def check(apps, procs, start):
    for app in apps:
        want = start(app, None, 0)
        for p in procs:
            got = start(app, True, p)
            if got.status != want.status:
                raise Bad("%s, GOMAXPROCS=%d: exit status %d, natively %d" % (app.name, p, got.status, want.status))
            print("%-10s GOMAXPROCS=%d ok, CPU %.2fx" % (app.name, p, got.cpu / max(want.cpu, 0.01)), flush=True)


def table(apps, procs, rounds, start):
    lines = ["| program | version | " + " | ".join("GOMAXPROCS=%d" % p for p in procs) + " |",
             "|---|---|" + "---|" * len(procs)]
    for app in apps:
        cells = []
        for p in procs:
            ratios = []
            try:
                for _ in range(rounds):
                    want, got = start(app, None, 0), start(app, True, p)
                    if got.status != want.status:
                        raise Bad("exit status %d" % got.status)
                    ratios.append(got.cpu / got.ops / max(want.cpu / want.ops, 1e-9))
                cells.append("ok, %.2f" % statistics.median(ratios))
            except Bad as e:
                print(e, file=sys.stderr)
                cells.append("fails")
        lines.append("| %s | %s | %s |" % (app.name, version(app), " | ".join(cells)))
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shim", required=True)
    p.add_argument("--procs", default="1,2,8")
    p.add_argument("--table", action="store_true")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--readme")
    p.add_argument("app", nargs="*")
    args = p.parse_args()
    names = args.app or [a.name for a in APPS]
    apps = [a for a in APPS if a.name in names]
    procs = [int(x) for x in args.procs.split(",")]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = [a for a in apps if not shutil.which(a.name)]
    for a in missing:
        print("skipped: %s is not installed" % a.name)
    apps = [a for a in apps if a not in missing]
    if not apps:
        return 77
    with tempfile.TemporaryDirectory() as workdir:
        os.chmod(workdir, 0o755)
        files = make_files(workdir)
        backend = Backend(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=workdir))
        threading.Thread(target=backend.serve_forever, daemon=True).start()

        def start(app, shim, n):
            try:
                return Run(app, files, workdir, backend.server_address[1], args.shim if shim else None, n)
            except Bad as e:
                raise Bad("%s, %s: %s" % (app.name, "GOMAXPROCS=%d" % n if shim else "native", e)) from e

        if args.table:
            text = table(apps, procs, args.rounds, start)
            sys.stdout.write(text)
            if args.readme:
                with open(args.readme) as f:
                    head, _, rest = f.read().partition(MARKS[0])
                tail = rest.partition(MARKS[1])[2]
                with open(args.readme, "w") as f:
                    f.write(head + MARKS[0] + text + MARKS[1] + tail)
            return 0
        try:
            check(apps, procs, start)
        except Bad as e:
            print("FAILED: %s" % e)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
