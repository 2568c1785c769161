#!/bin/bash
# SPDX-License-Identifier: MIT
# From a fresh clone to numbers: installs what is missing, builds the library, and runs gmprun compare on a real
# thread-per-connection server that tools/demo.py sets up and whose answers it checks.
#
#   tools/run-demo.sh [--server mariadb|tinyproxy] [--conns N] [--secs N] [--rounds N] [--procs N]
#                     [--html FILE] [--shim SO] [--build DIR]
#
# --shim SO takes a library as it is and builds nothing; --build DIR names the build folder (build).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PATH=$PATH:/usr/sbin:/sbin
unset LD_PRELOAD

build=$root/build
shim=
server=mariadb
pass=()

usage()
{
	sed -n '3,/^set/{s/^# \{0,1\}//;/^set/!p}' "$0"
	exit "$1"
}

while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage 0 ;;
	--server | --conns | --secs | --rounds | --procs | --html | --shim | --build)
		[ $# -ge 2 ] || usage 2 >&2
		;;
	*) usage 2 >&2 ;;
	esac
	case $1 in
	--shim) shim=$2 ;;
	--build) build=$2 ;;
	--server) server=$2 pass+=("$1" "$2") ;;
	*) pass+=("$1" "$2") ;;
	esac
	shift 2
done

groups=()
[ -n "$shim" ] || groups+=(build)
case $server in
mariadb) groups+=(demo) ;;
tinyproxy) groups+=(demo-http) ;;
*) usage 2 >&2 ;;
esac
"$root/tools/setup.sh" "${groups[@]}"

if [ -z "$shim" ]; then
	[ -e "$build/build.ninja" ] || meson setup --buildtype=release "$build" "$root"
	shim=$(ninja -C "$build" -t targets all | sed -n 's/^\(.*libgmpshim\.so\): .*/\1/p')
	[ -n "$shim" ] || { echo "run-demo.sh: $build builds no libgmpshim.so" >&2; exit 1; }
	ninja -C "$build" "$shim"
	shim=$build/$shim
fi

exec python3 "$root/tools/demo.py" --shim "$shim" ${pass[@]+"${pass[@]}"}
