#!/bin/sh
# Checks what is deployed: the manifests for Kubernetes against the schemas of its API,
# the systemd unit by systemd's own tools, nginx's configuration by nginx. Tools that
# are not Go run where they are installed.
#
#	scripts/lint-deploy.sh path/to/kustomize path/to/kubectl-validate
set -eu

kustomize=$1
kubectl_validate=$2

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# missing TOOL: says that a check is left out; in CI that is an error.
missing() {
	if [ "${CI:-}" = true ]; then
		echo "lint-deploy: CI needs $1" >&2
		exit 1
	fi
	echo "lint-deploy: $1 is not installed, its checks are left out" >&2
}

# The example with all its components, as an operator makes it.
cp -R deploy/k8s "$dir/k8s"
# Short values: kustomize folds long ones, which the validator does not expect.
printf 'TIDEMARK_DATABASE_URL=postgres://db/tidemark\nTIDEMARK_AUTH_SECRET=secret\n' >"$dir/k8s/example/tidemark.env"
sed 's/^# components:/components:/; s/^#   - /  - /' deploy/k8s/example/kustomization.yaml >"$dir/k8s/example/kustomization.yaml"
"$kustomize" build "$dir/k8s/example" >"$dir/all.yaml"
for kind in Namespace Secret Service Deployment PodDisruptionBudget HorizontalPodAutoscaler Job ServiceMonitor Ingress NetworkPolicy; do
	grep -qx "kind: $kind" "$dir/all.yaml" || { echo "lint-deploy: the example has no $kind" >&2; exit 1; }
done
# ServiceMonitor is no kind of Kubernetes', so there is no schema for it.
awk 'BEGIN { RS = "---\n"; ORS = "---\n" } !/\nkind: ServiceMonitor\n/' "$dir/all.yaml" >"$dir/kubernetes.yaml"
"$kubectl_validate" --version 1.30 "$dir/kubernetes.yaml" >"$dir/said" 2>&1 || { cat "$dir/said" >&2; exit 1; }

# With a program that is there: systemd looks for it.
if command -v systemd-analyze >/dev/null; then
	sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' deploy/systemd/tidemark.service >"$dir/tidemark.service"
	# It exits with 0 over lines that it doesn't understand, but not in silence.
	systemd-analyze verify --man=no "$dir/tidemark.service" >"$dir/said" 2>&1 || echo "it is refused" >>"$dir/said"
	if [ -s "$dir/said" ]; then
		cat "$dir/said" >&2
		exit 1
	fi
	# 0 is locked up, 10 is unprotected; times ten here.
	systemd-analyze security --offline=true --threshold=15 --no-pager "$dir/tidemark.service" >"$dir/said" ||
		{ cat "$dir/said" >&2; exit 1; }
else
	missing systemd-analyze
fi

nginx=$(command -v nginx || command -v /usr/sbin/nginx || true)
if [ -n "$nginx" ]; then
	mkdir "$dir/nginx"
	"$nginx" -t -q -p "$dir/nginx" -e stderr -c "$PWD/deploy/nginx/local.conf"
	# The files of the compose file as its image reads them, with names that can be looked up here.
	mkdir "$dir/nginx/conf.d"
	cp deploy/nginx/tidemark.conf "$dir/nginx/conf.d"
	sed 's/node[0-9]*:/127.0.0.1:/' deploy/nginx/nodes.conf >"$dir/nginx/conf.d/nodes.conf"
	sed '/upstream tidemark {/,/}/d; s|include tidemark.conf|include conf.d/*.conf|' deploy/nginx/local.conf >"$dir/nginx/compose.conf"
	"$nginx" -t -q -p "$dir/nginx" -e stderr -c "$dir/nginx/compose.conf"
else
	missing nginx
fi
