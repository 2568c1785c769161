#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the system calls of a thread-per-connection server under the shim with strace.

    kernel_calls.py --httpd EXE --shim SO

A request costs one read and one write, and a share of an epoll_wait; nothing else. With all threads parked the process
makes no system calls and uses no CPU. Exit 77 (skipped) where strace is missing or may not trace.
"""
import argparse
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

CONNS = 32
ROUNDS = 100
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def check(cond, what):
    if not cond:
        print("FAILED:", what)
        sys.exit(1)


def start(cmd, shim):
    env = dict(os.environ, GOMAXPROCS="2")
    if cmd[0] == "strace":
        cmd = cmd[:1] + ["-E", "LD_PRELOAD=" + shim] + cmd[1:]
    else:
        env["LD_PRELOAD"] = shim
    p = subprocess.Popen(cmd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(p.stdout.readline())
    return p, [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNS)]


def talk(conns, rounds):
    for _ in range(rounds):
        for c in conns:
            c.sendall(REQUEST)
        for c in conns:
            check(c.recv(4096).endswith(b"world\n"), "an answer")


def counted(args):
    begin = time.monotonic()
    calls = collections.Counter()
    with tempfile.NamedTemporaryFile("r") as out:
        p, conns = start(["strace", "-f", "-o", out.name, args.httpd], args.shim)
        talk(conns, ROUNDS)
        p.communicate()
        for line in out:
            m = re.match(r"\d+ +(\w+)\(", line)
            if m:
                name = "EPOLL_CTL_ADD" if "EPOLL_CTL_ADD" in line else m.group(1)
                calls[name] += 1
    n = CONNS * ROUNDS
    ticks = (time.monotonic() - begin) * 100  # when nobody has looked at the network for 10 ms, sysmon does
    per = {k: v / n for k, v in calls.items()}
    print(", ".join(f"{k} {v:.3f}" for k, v in sorted(per.items(), key=lambda kv: -kv[1])[:8]), "per request")
    check(1.0 <= per.get("recvfrom", 0) + per.get("read", 0) <= 1.1, "one read per request")
    check(1.0 <= per.get("sendto", 0) + per.get("write", 0) <= 1.1, "one write per request")
    check(calls["epoll_pwait"] + calls["epoll_pwait2"] <= n + ticks, "an epoll_wait is shared")
    # who is parked for 10 ms has its registration looked at once (EPOLL_CTL_MOD): on a busy machine, every time
    check(calls["EPOLL_CTL_ADD"] + calls["poll"] <= 4 * CONNS, "descriptors are registered once")


def cpu_ns(pid):
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def idle(args):
    p, conns = start([args.httpd], args.shim)
    talk(conns, 1)
    with open(f"/proc/{p.pid}/maps") as f:
        check("libgmpshim" in f.read(), "the shim is mapped")
    for _ in range(100):  # what lasts is looked at a few times, then never again
        before = cpu_ns(p.pid)
        time.sleep(1)
        used = cpu_ns(p.pid) - before
        if used == 0:
            break
    print(f"idle: {used} ns of CPU in a second")
    check(used == 0, "an idle process uses no CPU")
    talk(conns, 1)
    p.communicate()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--httpd", required=True)
    ap.add_argument("--shim", required=True)
    args = ap.parse_args()
    args.shim = os.path.abspath(args.shim)
    idle(args)
    if shutil.which("strace") is None or \
            subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        print("skipped: strace is missing or may not trace")
        sys.exit(77)
    counted(args)
    print("ok")


if __name__ == "__main__":
    main()
