#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds a Debian package from what git has of this tree (or from an unpacked release) into a folder, and lets lintian
# look at it, if that is there.
#
#   tools/make-deb.sh [FOLDER]    (packages)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-packages}
case $out in
-*) echo "usage: tools/make-deb.sh [FOLDER]" >&2; exit 2 ;;
esac
mkdir -p "$out"
out=$(cd "$out" && pwd)
version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$root/meson.build")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tree=$work/libgmpshim-$version
mkdir "$tree"
if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
	git -C "$root" archive HEAD | tar -x -C "$tree"
else
	tar -C "$root" --exclude=./build* --exclude=./packages -c . | tar -x -C "$tree"
fi
mv "$tree/tools/debian" "$tree/debian"
sed -i "s/@VERSION@/$version/; s/@DATE@/$(date -R)/" "$tree/debian/changelog"
(cd "$tree" && dpkg-buildpackage -b -us -uc)
mv "$work"/*.deb "$out"
if command -v lintian >/dev/null; then
	lintian --fail-on error "$out/libgmpshim_${version}_"*.deb
fi
ls "$out"/libgmpshim_"${version}"_*.deb
