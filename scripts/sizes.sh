#!/bin/sh
# Where the code has grown: lines per package without tests, the longest files
# and functions. tests/ and suites like storetest count as tests. Information,
# not a limit: quality shows in the tail.
set -eu

files=$(mktemp)
trap 'rm -f "$files" "$files.out"' EXIT
find . -name '*.go' -not -path '*/node_modules/*' -not -path './bin/*' |
	sed 's|^\./||' | sort >"$files"

# shellcheck disable=SC2046 # no file of ours has a space in its name
awk '
	function folder(file) { return sub(/\/[^\/]*$/, "", file) ? file : "." }
	FNR == 1 {
		generated = 0
		test = FILENAME ~ /_test\.go$/ || FILENAME ~ /^tests\// || FILENAME ~ /test\/[^\/]*$/
		dir = folder(FILENAME)
	}
	/^\/\/ Code generated .* DO NOT EDIT\.$/ { generated = 1 }
	{
		if (generated) next
		if (test) { tests[dir]++; alltests++; next }
		lines[dir]++; all++
		length_of[FILENAME] = FNR
	}
	# gofmt puts the brace that ends a function in the first column.
	/^func / && !/}$/ {
		name = $0
		sub(/^func /, "", name)
		if (name ~ /^\(/) { receiver = name; sub(/\).*/, "", receiver); sub(/.*[ *(]/, "", receiver); sub(/^\([^)]*\) /, "", name) } else receiver = ""
		sub(/[(\[].*/, "", name)
		start = FNR
		function_name = receiver == "" ? name : receiver "." name
	}
	/^}/ && start {
		printf "function\t%d\t%s:%d %s\n", FNR - start + 1, FILENAME, start, function_name
		start = 0
	}
	END {
		for (d in tests) if (!(d in lines)) lines[d] = 0
		for (d in lines) printf "package\t%d\t%-34s %5d of tests\n", lines[d], d, tests[d]
		for (f in length_of) printf "file\t%d\t%s\n", length_of[f], f
		printf "package\t%d\t%-34s %5d of tests\n", all, "all", alltests
	}' $(cat "$files") >"$files.out"
mv "$files.out" "$files"

section() {
	echo "$1"
	grep "^$2	" "$files" | sort -t "$(printf '\t')" -k2,2nr | head -n "$3" | awk -F '\t' '{ printf "  %6d  %s\n", $2, $3 }'
	echo
}
section "Lines per package, without tests and generated code" package 100
section "Longest files" file 8
section "Longest functions" function 12
