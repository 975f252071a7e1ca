#!/bin/sh
# Everything that needs Node: the browser client by itself and against the
# real server, the TypeScript client generated from openapi.yaml, and the demo
# page in Chromium, also with two nodes behind nginx. All of it runs, whatever
# fails. bin/tidemark and node_modules are there (make e2e).
set -eu

CHROMIUM=$(sh scripts/chromium.sh)
NGINX=$(sh scripts/nginx.sh)
export CHROMIUM NGINX
# A line a test, also where there is no terminal.
export NODE_OPTIONS="${NODE_OPTIONS:-} --test-reporter=spec"

npm_run() { npm --silent --prefix "$@"; }
# A PostgreSQL server of its own: what is in a database of the caller is not for
# tests to write to.
with_postgres() { TIDEMARK_TEST_DATABASE_URL='' go run ./tests/pgtest/cmd -- "$@"; }
with_server() { sh scripts/with-server.sh bin/tidemark npm --silent --prefix "$@"; }

# step TITLE COMMAND...: every step runs, whatever failed before it; what failed is named at the end.
failed=
step() {
	title=$1
	shift
	echo "== $title"
	"$@" || failed="$failed
  $title"
}

step 'client' npm_run tests/e2e run client
step 'client against the server' with_server tests/e2e run client:server
step 'openapi.yaml: TypeScript client against the server' with_server tests/e2e/spec run client
step 'API reference' npm_run tests/e2e/spec run docs
step "demo page and gallery in $CHROMIUM" \
	with_postgres env TIDEMARK_BIN="$PWD/bin/tidemark" npm --silent --prefix tests/e2e run browser

[ -z "$failed" ] || {
	echo "e2e: failed:$failed" >&2
	exit 1
}
