#!/bin/sh
# Builds the binary twice, in two folders with a cache each, and compares: what a
# release holds must come out the same for whoever builds it from the same commit.
# The flags are those of .goreleaser.yaml and the Dockerfile.
set -eu

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir" && rm -rf "$dir"' EXIT
for place in one another/folder; do
	mkdir -p "$dir/$place/src"
	git archive HEAD | tar -x -C "$dir/$place/src"
	(cd "$dir/$place/src" && GOCACHE="$dir/$place/cache" GOFLAGS='' CGO_ENABLED=0 \
		go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=reproducible' -o "$dir/$place/tidemark" ./cmd/tidemark)
done
cmp "$dir/one/tidemark" "$dir/another/folder/tidemark"
sha256sum "$dir/one/tidemark" | cut -d ' ' -f 1
