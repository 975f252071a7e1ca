#!/bin/sh
# Creates the next migration, up and down, for both dialects. One number for
# both: a migration that only one dialect needs is an empty file in the other.
set -eu

name=${1:-}
case $name in
"" | *[!a-z0-9_]*)
	echo "usage: make migration name=add_inbox (small letters, digits and _)" >&2
	exit 2
	;;
esac

last=$(find migrations -name '[0-9]*_*.sql' | sed 's|.*/0*\([0-9][0-9]*\)_.*|\1|' | sort -n | tail -n 1)
number=$(printf '%06d' $((${last:-0} + 1)))
for dialect in postgres sqlite; do
	mkdir -p "migrations/$dialect"
	for direction in up down; do
		file=migrations/$dialect/${number}_$name.$direction.sql
		echo "-- $name: $direction ($dialect)" >"$file"
		echo "$file"
	done
done
