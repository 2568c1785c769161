#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the suite `stress`, all test programs under random schedules and slices of 100 us, round after round until the
# time is over; each round has seeds of its own, which the output of a failing program names (GMPSHIM_SCHED=random:SEED
# begins the same way again). The last line counts runs and failures of programs.
#   tools/run-stress.sh [--build DIR] [--minutes N] [PROGRAM-stress...]
set -u
cd "$(dirname "$0")/.." || exit 1
build=build minutes=60
while [[ ${1:-} == --* ]]; do
  case $1 in
  --build) build=$2 ;;
  --minutes) minutes=$2 ;;
  *) sed -n '3,6s/^# *//p' "$0"; exit 2 ;;
  esac
  shift 2 || exit 2
done
[ -f "$build/build.ninja" ] || meson setup "$build" || exit 1
ninja -C "$build" || exit 1
log=$build/meson-logs/stress.txt
runs=0 failed=0 round=0 end=$((SECONDS + minutes * 60))
while [ $SECONDS -lt $end ]; do
  round=$((round + 1))
  meson test -C "$build" --no-rebuild --print-errorlogs --logbase stress --suite stress "$@" >"$log" 2>&1
  status=$?
  counted=$(python3 tools/count_tests.py "$build/meson-logs/stress.json")
  [[ $counted =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] || { cat "$log"; exit 1; }
  runs=$((runs + BASH_REMATCH[1] + BASH_REMATCH[2])) failed=$((failed + BASH_REMATCH[2]))
  [ $status -eq 0 ] || cat "$log"
  echo "stress: round $round, $counted"
done
echo "stress: $round rounds, $runs runs, $failed failed"
[ "$failed" -eq 0 ]
