#!/bin/sh
# make e2e-all: the quick core (make e2e), the browser client's tests on what is served
# and on a new transcript of the Go model, then the conformance kit, every client that is
# generated from openapi.yaml and every library with an adapter, against the real server;
# at the end a table of client, scenario and result. All of it runs, whatever fails.
set -eu

TIDEMARK_E2E_RESULTS=$(mktemp)
export TIDEMARK_E2E_RESULTS
transcript=$(mktemp)
trap 'rm -f "$TIDEMARK_E2E_RESULTS" "$transcript"' EXIT
failed=

# run CLIENT SCENARIO COMMAND...: a row of its own for what has no cells of its own.
run() {
	client=$1 scenario=$2
	shift 2
	result=ok
	"$@" || { result=failed failed=yes; }
	printf '{"client":"%s","scenario":"%s","result":"%s"}\n' "$client" "$scenario" "$result" >>"$TIDEMARK_E2E_RESULTS"
}

# on_dist COMMAND...: with the minified file in place of the source.
on_dist() { TIDEMARK_CLIENT=dist NODE_OPTIONS="${NODE_OPTIONS:-} --test-reporter=spec" "$@"; }

# replay SEED: what the model sees and answers with that seed, and the client beside it.
# A server is never as fast as the last time, so the seed alone does not repeat it.
replay() {
	go test ./tests/model -count 1 -run TestModel/sqlite \
		"-rapid.seed=$1" -rapid.checks=60 -rapid.steps=160 -args -transcript "$transcript" || return 1
	TIDEMARK_TRANSCRIPT=$transcript node --test --test-reporter=spec tests/e2e/client/transcript.test.js && return
	cp "$transcript" bin/transcript.jsonl
	echo "TIDEMARK_TRANSCRIPT=$PWD/bin/transcript.jsonl repeats it" >&2
	return 1
}

run tidemark.js 'make e2e' sh scripts/e2e.sh
echo "== client, as it is served"
run 'tidemark.js, minified' 'its own tests' on_dist npm --silent --prefix tests/e2e run client
run 'tidemark.js, minified' 'its tests against the server' \
	on_dist sh scripts/with-server.sh bin/tidemark npm --silent --prefix tests/e2e run client:server
seed=$(date +%s)
echo "== client beside the model, with seed $seed"
run tidemark.js 'a new transcript of the model' replay "$seed"
echo "== the protocol"
# shellcheck disable=SC2016 # the URL is known inside only
run 'the protocol' 'tidemark conformance' sh scripts/with-server.sh bin/tidemark sh -c 'bin/tidemark conformance "$TIDEMARK_URL"'
echo "== libraries with an adapter"
TIDEMARK_BIN=$PWD/bin/tidemark npm --silent --prefix tests/e2e/libraries test || failed=yes
echo "== generated clients"
npm --silent --prefix tests/e2e/clients test || failed=yes

node tests/e2e/table.js "$TIDEMARK_E2E_RESULTS" || failed=yes
[ -z "$failed" ]
