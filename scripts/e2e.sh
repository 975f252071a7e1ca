#!/bin/sh
# Everything that needs Node: the browser client by itself and against the
# real server, the TypeScript client generated from openapi.yaml, and the demo
# page in Chromium. bin/tidemark and node_modules are there (make e2e).
set -eu

CHROMIUM=$(sh scripts/chromium.sh)
export CHROMIUM

npm_run() { npm --prefix tests/e2e run --silent "$@"; }
with_server() { sh scripts/with-server.sh bin/tidemark npm --prefix tests/e2e run --silent "$@"; }

npm_run client
with_server client:server
with_server spec
with_server browser
