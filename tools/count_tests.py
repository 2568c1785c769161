#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the results of a `meson test` run: "N passed, N failed[, N skipped]" on the last line."""
import json
import sys

GOOD = {"OK", "EXPECTEDFAIL"}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: count_tests.py testlog.json")
    results = [json.loads(line)["result"] for line in open(sys.argv[1]) if line.strip()]
    skipped = sum(r == "SKIP" for r in results)
    passed = sum(r in GOOD for r in results)
    failed = len(results) - passed - skipped
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed or passed == 0 else 0)


main()
