#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds with gcc and clang, runs all tests, and ends with "N passed, N failed".
#   tools/run-tests.sh [--build DIR] [MESON TEST ARGUMENTS]
set -u
cd "$(dirname "$0")/.." || exit 1
build=build
if [ "${1:-}" = --build ]; then
  build=$2
  shift 2
fi
tools/setup.sh build || exit 1
tools/setup.sh test apps || echo 'run-tests.sh: tests of what is missing are skipped' >&2
[ -f "$build/build.ninja" ] || meson setup "$build" || exit 1
ninja -C "$build" || exit 1
# clang sees other mistakes; the tests run on gcc's library
if command -v clang >/dev/null; then
  [ -f "$build-clang/build.ninja" ] || CC=clang CXX=clang++ meson setup "$build-clang" || exit 1
  ninja -C "$build-clang" || exit 1
fi
meson test -C "$build" --print-errorlogs --no-suite more "$@"
status=$?
python3 tools/count_tests.py "$build/meson-logs/testlog.json"
counted=$?
[ $status -eq 0 ] && exit $counted
exit $status
