#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Check a spin model: run_model.py MODEL.pml

The model's header says how: a line "RUN [-DX...]" must pass, a line "BUG -DX... text" is a broken variant in which
spin must find an error. Exit status 0, 1, or 77 when spin or a C compiler is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
LINE = re.compile(r"^ \* (RUN|BUG)((?: -D\w+(?:=\w+)?)*)\s*(.*)$")


def run(cmd, cwd):
    return subprocess.run(cmd, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def check(model, defines, compiler):
    """Returns (errors found, report)."""
    with tempfile.TemporaryDirectory() as tmp:
        shutil.copy(model, tmp)
        done = run(["spin"] + defines + ["-a", os.path.basename(model)], tmp)
        if done.returncode or not os.path.exists(os.path.join(tmp, "pan.c")):
            return None, done.stdout
        done = run([compiler, "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2048", "-o", "pan", "pan.c"], tmp)
        if done.returncode:
            return None, done.stdout
        out = run(["./pan", "-m100000", "-n"], tmp).stdout
        found = re.search(r"errors: (\d+)", out)
        if not found or "max search depth too small" in out or "out of memory" in out or "reached -DMEMLIM" in out:
            return None, out
        trail = run(["spin"] + defines + ["-t", "-p", os.path.basename(model)], tmp).stdout if int(found[1]) else ""
        return int(found[1]), out + trail[-6000:]


def main():
    model = sys.argv[1]
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    bad = 0
    if not shutil.which("spin") or not compiler:
        print("SKIP: spin (tools/setup.sh test) or a C compiler is missing")
        return SKIP
    with open(model) as f:
        lines = [LINE.match(line) for line in f]
    runs = [m.groups() for m in lines if m]
    if not any(kind == "RUN" for kind, _, _ in runs) or not any(kind == "BUG" for kind, _, _ in runs):
        print("%s: no RUN or no BUG line" % model)
        return 1
    for kind, defines, _ in runs:
        errors, report = check(model, defines.split(), compiler)
        good = errors is not None and (errors > 0) == (kind == "BUG")
        states = re.search(r"(\S+) states, stored", report or "")
        print("%s %s%s: %s, %s states" % ("ok" if good else "FAIL", kind, defines,
                                          "no answer" if errors is None else "%d errors" % errors,
                                          states[1] if states else "?"))
        if not good:
            print(report)
            bad += 1
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
