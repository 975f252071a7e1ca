#!/bin/sh
# Builds what a release holds, and publishes it unless told --snapshot:
#
#	scripts/release.sh path/to/goreleaser path/to/syft [--snapshot]
set -eu

goreleaser=$PWD/$1
syft=$PWD/$2
shift 2
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
ln -s "$syft" "$programs/syft"
"$goreleaser" check --quiet
PATH=$programs:$PATH "$goreleaser" release --clean "$@"
