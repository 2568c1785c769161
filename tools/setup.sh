#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that a task needs and that are missing; starts no service.
#
#   tools/setup.sh GROUP...     build       compiler, meson, libraries
#                               test        what more the test suite uses
#                               bench       Go, the yardstick of tests/bench
#                               apps        programs that tests/apps runs in every test run
#                               demo        MariaDB and sysbench, for tools/run-demo.sh
#                               demo-http   tinyproxy, nginx and wrk, for its --server tinyproxy
#
# With nothing missing it changes nothing and needs no privileges.
set -eu
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
policy=/usr/sbin/policy-rc.d

die()
{
	echo "setup.sh: $*" >&2
	exit 1
}

# Each entry is COMMAND:PACKAGE, the command showing that the package is not needed, or a package.
entries()
{
	case $1 in
	build) echo gcc:gcc libc6-dev meson:meson ninja:ninja-build pkg-config:pkg-config check \
		libunwind-dev systemtap-sdt-dev python3:python3 ;;
	test) echo clang:clang g++:g++ nm:binutils gdb:gdb strace:strace spin:spin glibc-source ;;
	apps) echo memcached:memcached tinyproxy:tinyproxy-bin civetweb:civetweb pigz:pigz xz:xz-utils \
		erl:erlang-base ;;
	bench) echo go:golang-go ;;
	# The -core packages hold the programs alone, without the system's own database service.
	demo) echo mariadbd:mariadb-server-core mariadb:mariadb-client-core sysbench:sysbench \
		python3:python3 ;;
	demo-http) echo tinyproxy:tinyproxy-bin nginx:nginx-light wrk:wrk python3:python3 ;;
	*) die "no group '$1': build, test, apps, bench, demo or demo-http" ;;
	esac
}

present()
{
	case $1 in
	*:*) command -v "${1%%:*}" >/dev/null ;;
	*) dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed' ;;
	esac
}

[ $# -gt 0 ] || die "usage: tools/setup.sh build|test|apps|bench|demo|demo-http..."
missing=
for group; do
	list=$(entries "$group") || exit 1
	for entry in $list; do
		present "$entry" || missing="$missing ${entry##*:}"
	done
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || die "missing:$missing; only Debian's apt-get is supported"
as_root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || die "missing:$missing; run this as root, or install sudo"
	as_root=sudo
fi

# A policy-rc.d that answers 101 keeps the packages' services from being started.
ours=
remove_policy()
{
	[ -z "$ours" ] || $as_root rm -f "$policy"
	ours=
}
trap remove_policy EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
	ours=1
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod 755 "$policy"
fi

echo "setup.sh: installing$missing"
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
$apt update || die "apt-get update failed"
# shellcheck disable=SC2086 # a list of words
$apt install -y --no-install-recommends $missing || die "could not install:$missing"
