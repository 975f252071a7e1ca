#!/bin/sh
# Checks what is not Go: shell scripts, the workflows, the compose file, Prometheus'
# configuration and alerts. Tools that need more than Go run where they are
# installed; CI installs them all.
#
#	scripts/lint-files.sh path/to/actionlint path/to/compose-check
set -eu

actionlint=$1
compose_check=$2

# missing TOOL: says that a check is left out; in CI that is an error.
missing() {
	if [ "${CI:-}" = true ]; then
		echo "lint-files: CI needs $1" >&2
		exit 1
	fi
	echo "lint-files: $1 is not installed, its checks are left out" >&2
}

for script in scripts/*.sh api/web/gallery/*.sh; do
	sh -n "$script"
done
bash -n .ci/run
if command -v shellcheck >/dev/null; then
	shellcheck scripts/*.sh api/web/gallery/*.sh .ci/run
else
	missing shellcheck
fi
if command -v yamllint >/dev/null; then
	yamllint --strict -d '{extends: default, rules: {document-start: disable, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1}, line-length: {max: 160}}}' \
		.github .golangci.yml .goreleaser.yaml docker-compose.yml deploy
else
	missing yamllint
fi

if promtool=$(sh scripts/promtool.sh); then
	# Rules and the configuration that names them; it prints what it has found wrong.
	"$promtool" check config deploy/prometheus/prometheus.yml >/dev/null
else
	missing promtool
fi

"$actionlint"

# The loader of `docker compose` itself. It leaves ${…} alone here: this front
# end of it does not see the environment.
"$compose_check" -no-interpolation docker-compose.yml >/dev/null
