#!/bin/sh
# What can only be proved where there is a container engine: the image alone, on SQLite.
#
#	scripts/image-smoke.sh IMAGE
set -eu

image=$1
secret=only-for-this-check-0123456789abcdef
name=tidemark-smoke-$$
volume=tidemark-smoke-$$
clear_away() {
	docker rm --force "$name" >/dev/null 2>&1 || true
	docker volume rm --force "$volume" >/dev/null 2>&1 || true
}
trap clear_away EXIT

fail() {
	echo "image-smoke: $1" >&2
	docker logs "$name" >&2 || true
	exit 1
}

# await_healthy: until the engine's own health check, which is `tidemark healthcheck`, is content.
await_healthy() {
	for _ in $(seq 60); do
		[ "$(docker inspect --format '{{.State.Health.Status}}' "$name")" = healthy ] && return 0
		sleep 1
	done
	fail "it does not become healthy"
}

start() {
	docker run --detach --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
		--env TIDEMARK_AUTH_SECRET="$secret" --volume "$volume:/data" --publish 127.0.0.1::8080 "$image" >/dev/null
	await_healthy
	address=$(docker port "$name" 8080/tcp)
}

# The secret goes with the container's environment, which exec has too.
token() { docker exec "$name" /tidemark token --space 'smoke=rw' --subject smoke 2>/dev/null; }

if docker run --rm --name "$name" "$image" >/dev/null 2>&1; then
	fail "it starts without auth, where everybody reaches it"
fi
[ "$(docker image inspect --format '{{.Config.User}}' "$image")" = 65532:65532 ] || fail "it runs as another user than 65532"

# A volume that is new belongs to the user of the folder it covers, or SQLite could not write.
start
curl --fail --silent --show-error -H "Authorization: Bearer $(token)" -H 'Content-Type: application/json' \
	-d '{"client_id": "smoke", "edits": [{"edit_id": "e1", "op": "put", "collection": "c", "id": "d1", "base_version": 0, "data": {"kept": true}}]}' \
	"http://$address/v1/spaces/smoke/push" | grep -q '"status":"applied"' || fail "it takes no push"

# Another container on the same volume has what the first was given.
docker stop --time 30 "$name" >/dev/null
[ "$(docker inspect --format '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it does not end by itself at SIGTERM"
docker rm "$name" >/dev/null
start
curl --fail --silent --show-error -H "Authorization: Bearer $(token)" "http://$address/v1/spaces/smoke/changes" |
	grep -q '"kept"' || fail "what was pushed is gone with the container"
echo "image-smoke: $image is fine"
