#!/bin/sh
# Builds a pinned Go command into bin/tools, quietly unless it fails:
#
#	scripts/install-tool.sh bin/tools/name@version path/of/the/command
set -eu

target=$1
command=$2
version=${target##*@}
log=$(mktemp)
mkdir -p bin/tools
built=$(mktemp -d bin/tools/.building.XXXXXX)
trap 'rm -rf "$log" "$built"' EXIT

# Settings that the caller keeps for this module (-mod, -tags) are not the tool's,
# and no tool needs C: a broken compiler must not keep it from being built.
if ! GOBIN=$PWD/$built GOFLAGS='' CGO_ENABLED=0 go install "$command@$version" >"$log" 2>&1; then
	cat "$log" >&2
	exit 1
fi
# The folder it was built in holds it alone, whatever Go has called it.
mv "$built"/* "$target"
