#!/bin/sh
# make e2e-all: the quick core (make e2e), then every client that is generated from
# openapi.yaml, every library with an adapter, and the conformance kit, against the real
# server; at the end a table of client, scenario and result. All of it runs, whatever fails.
set -eu

TIDEMARK_E2E_RESULTS=$(mktemp)
export TIDEMARK_E2E_RESULTS
trap 'rm -f "$TIDEMARK_E2E_RESULTS"' EXIT
failed=

# run CLIENT SCENARIO COMMAND...: a row of its own for what has no cells of its own.
run() {
	client=$1 scenario=$2
	shift 2
	result=ok
	"$@" || { result=failed failed=yes; }
	printf '{"client":"%s","scenario":"%s","result":"%s"}\n' "$client" "$scenario" "$result" >>"$TIDEMARK_E2E_RESULTS"
}

run tidemark.js 'make e2e' sh scripts/e2e.sh
echo "== the protocol"
# shellcheck disable=SC2016 # the URL is known inside only
run 'the protocol' 'tidemark conformance' sh scripts/with-server.sh bin/tidemark sh -c 'bin/tidemark conformance "$TIDEMARK_URL"'
echo "== libraries with an adapter"
TIDEMARK_BIN=$PWD/bin/tidemark npm --silent --prefix tests/e2e/libraries test || failed=yes
echo "== generated clients"
npm --silent --prefix tests/e2e/clients test || failed=yes

node tests/e2e/table.js "$TIDEMARK_E2E_RESULTS" || failed=yes
[ -z "$failed" ]
