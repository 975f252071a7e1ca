#!/bin/sh
# Runs every fuzz target of the module for a short time, one after the other.
# A failing input is kept by go test under testdata/fuzz: commit it.
set -eu

time=$1
list=$(mktemp)
trap 'rm -f "$list"' EXIT

find . -name '*_test.go' -not -path '*/node_modules/*' -exec grep -H '^func Fuzz[A-Z0-9_]' {} + |
	sed 's|^\(.*\)/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*|\1 \2|' | sort >"$list" || true
if [ ! -s "$list" ]; then
	echo "no fuzz targets"
	exit 0
fi
while read -r package target; do
	echo "$package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null
done <"$list"
