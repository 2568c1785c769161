#!/bin/bash
# SPDX-License-Identifier: MIT
# Builds core with ThreadSanitizer and runs the unit tests that need no Gs with stacks of their own: locks, parkers, run
# queues, wait queues, timers. Any report fails the test. Exit status 77: the compiler has no ThreadSanitizer.
#   tools/run-tsan.sh [--build DIR]
set -u
build=$(dirname "$0")/../build-tsan
[ "${1:-}" = --build ] && build=$2
mkdir -p "$build" && build=$(cd "$build" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
echo 'int main(void) { return 0; }' | ${CC:-cc} -fsanitize=thread -x c -o "$build/probe" - 2>/dev/null || exit 77
[ -f "$build/build.ninja" ] || meson setup "$build" -Db_sanitize=thread -Db_lundef=false -Dc_args=-Wno-tsan || exit 1
tests=(lock park runq sema timer)
ninja -C "$build" "${tests[@]/#/tests/unit/test_}" || exit 1
status=0
for name in "${tests[@]}"; do
  TSAN_OPTIONS="halt_on_error=1 exitcode=66" "$build/tests/unit/test_$name" || status=1
done
exit $status
