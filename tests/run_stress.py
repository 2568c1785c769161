#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run test programs in the stress mode (random schedule, slice of 100 us) again and again for a time.

run_stress.py --shim SO --seconds N [--jobs N] [--timeout S] [--seed N] PROG...

The programs run in a random order, each time at GOMAXPROCS 1, 2 or 8. Exit status: 0 all runs good, 1 otherwise.
"""

import argparse
import os
import random
import sys
import threading
import time

import run_prog

PROCS = ("1", "2", "8")


class Stress:
    """What the jobs share; under `lock`."""

    def __init__(self, opts):
        self.opts = opts
        self.lock = threading.Lock()
        self.random = random.Random(opts.seed)
        self.end = time.monotonic() + opts.seconds
        self.todo = []
        self.runs = self.failures = 0

    def next(self):
        """(program, GOMAXPROCS, seed of the schedule), or None when time is up."""
        with self.lock:
            if time.monotonic() >= self.end:
                return None
            if not self.todo:
                self.todo = [(prog, procs) for prog in self.opts.progs for procs in PROCS]
                self.random.shuffle(self.todo)
            return self.todo.pop() + (self.random.randrange(1, 1 << 31),)

    def job(self):
        while (what := self.next()) is not None:
            prog, procs, seed = what
            env = run_prog.clean_env()
            env.update(LD_PRELOAD=os.path.abspath(self.opts.shim), GOMAXPROCS=procs, GMPSHIM_EXPECT_LIVE="1",
                       GMPSHIM_SCHED="random:%d" % seed)
            name = "GOMAXPROCS=%s GMPSHIM_SCHED=random:%d %s" % (procs, seed, os.path.basename(prog))
            run = run_prog.Run(name, [prog], env, self.opts.timeout)
            with self.lock:
                self.runs += 1
                if run.timed_out or run.status not in (0, run_prog.SKIP):
                    self.failures += 1
                    run_prog.report(run, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shim", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=240.0, metavar="SECONDS", help="per run")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("progs", nargs="+")
    opts = parser.parse_args()
    run_prog.usual_signals()
    print("seed %d" % opts.seed, flush=True)
    stress = Stress(opts)
    jobs = [threading.Thread(target=stress.job) for _ in range(opts.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    print("%d of %d runs good" % (stress.runs - stress.failures, stress.runs))
    return 1 if stress.failures else 0


if __name__ == "__main__":
    sys.exit(main())
