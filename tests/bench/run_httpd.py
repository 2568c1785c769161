#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A thread-per-connection HTTP server on NPTL, under the shim, in Go, and as hand-written epoll loops, in turns.

    run_httpd.py --bin DIR --shim SO [--conns 100,1000,5000] [--rounds 3] [--secs 3] [--procs 2] [--poll]

wrk drives each; prints medians: requests per second, p99 latency, CPU microseconds of the server per request (all its
CPU time, setting up the connections included), and peak memory. DIR holds httpd, httpd-epoll and httpd-go.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def run(kind, args, conns):
    env = dict(os.environ, GOMAXPROCS=str(args.procs))
    exe = {"nptl": "httpd", "shim": "httpd", "go": "httpd-go", "epoll": "httpd-epoll",
           "uring": "httpd-uring"}[kind]
    cmd = [os.path.join(args.bin, exe)]
    if args.poll and exe == "httpd":
        cmd.append("poll")
    if kind == "shim":
        env["LD_PRELOAD"] = os.path.abspath(args.shim)
    server = subprocess.Popen(cmd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        wrk = subprocess.run(
            ["wrk", "-t1", f"-c{conns}", f"-d{args.secs}", "--latency", f"http://127.0.0.1:{port}/"],
            capture_output=True, text=True, timeout=60 + args.secs, check=True).stdout
        out, _ = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    total = int(re.search(r"(\d+) requests in", wrk).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", wrk).group(1))
    num, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", wrk).groups()
    errors = re.search(r"Socket errors: (.*)", wrk)
    cpu, rss = re.search(r"cpu ([\d.]+) maxrss (\d+)", out).groups()
    return {"rate": rate, "p99": float(num) * UNITS[unit], "cpu": float(cpu) * 1e6 / max(total, 1),
            "rss": int(rss) / 1024, "errors": errors.group(1) if errors else ""}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True)
    p.add_argument("--shim", required=True)
    p.add_argument("--conns", default="100,1000,5000")
    p.add_argument("--kinds", default="nptl,shim,go,epoll")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--secs", type=int, default=3)
    p.add_argument("--procs", type=int, default=2)
    p.add_argument("--poll", action="store_true")
    args = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kinds = [k for k in args.kinds.split(",") if k != "go" or os.path.exists(os.path.join(args.bin, "httpd-go"))]
    for conns in map(int, args.conns.split(",")):
        seen = {k: [] for k in kinds}
        for _ in range(args.rounds):
            for k in kinds:
                seen[k].append(run(k, args, conns))
        print(f"{conns} connections, GOMAXPROCS={args.procs}, medians of {args.rounds}")
        for k in kinds:
            med = {f: statistics.median(r[f] for r in seen[k]) for f in ("rate", "p99", "cpu", "rss")}
            errors = next((r["errors"] for r in seen[k] if r["errors"]), "")
            print(f"  {k:6} {med['rate']:9.0f} req/s  p99 {med['p99']:7.1f} ms  {med['cpu']:6.2f} us CPU/req"
                  f"  {med['rss']:7.1f} MB  {errors}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
