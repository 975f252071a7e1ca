#!/bin/sh
# Runs the Go benchmarks and adds a column: how many times the cost of the
# first benchmark of its group (the name up to the first /). Nanoseconds say
# little on another machine; ratios travel.
#
#	scripts/microbench.sh pattern count
set -eu

dirs=$(find . -name '*_test.go' -not -path '*/node_modules/*' -exec grep -l '^func Benchmark[A-Z0-9_]' {} + |
	sed 's|/[^/]*$||' | sort -u) || true
if [ -z "$dirs" ]; then
	echo "no benchmarks"
	exit 0
fi
# shellcheck disable=SC2086 # one package a word
go test -run '^$' -bench "$1" -benchmem -count "$2" $dirs | awk '
	/^pkg:/ { printf "\n%s\n", $2; next }
	/^Benchmark/ {
		name = $1
		sub(/-[0-9]+$/, "", name)
		group = name
		sub(/\/.*/, "", group)
		if (!(group in base)) base[group] = $3
		memory = ""
		for (i = 4; i < NF; i++) if ($(i + 1) == "B/op" || $(i + 1) == "allocs/op") memory = memory sprintf("%10d %s", $i, $(i + 1))
		printf "  %-52s %12s ns/op  x%-7.2f%s\n", substr(name, 10), $3, $3 / base[group], memory
		next
	}
	/^(FAIL|---|panic)/ { print; failed = 1 }
	END { exit failed }'
