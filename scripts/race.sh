#!/bin/sh
# Prints -race where a C compiler can build for it, nothing elsewhere. In CI
# the race detector is not optional: without a compiler this fails there.
set -eu

cc=$(go env CC)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
# The header is part of the question: a compiler without libc can't build cgo.
# shellcheck disable=SC2086 # CC may carry arguments
if printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | $cc -x c -o "$out" - >/dev/null 2>&1; then
	echo -race
elif [ "${CI:-}" = true ]; then
	echo "CI=true wants the race detector, which needs a C compiler ($cc does not work)" >&2
	exit 1
else
	echo "no C compiler: testing without the race detector" >&2
fi
