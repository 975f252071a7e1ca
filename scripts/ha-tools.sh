#!/bin/sh
# Prints the folder with the programs that `make ha` needs (etcd, Patroni, HAProxy,
# pgbouncer, Prometheus and the libraries that are missing), laid out like /. They are
# taken out of the system's packages (Debian's and Ubuntu's) without installing them:
# the machine stays as it is, nothing of it is started, and nobody needs to be root.
# TIDEMARK_HA_TOOLS names a folder that is there already.
set -eu

if [ -n "${TIDEMARK_HA_TOOLS:-}" ]; then
	echo "$TIDEMARK_HA_TOOLS"
	exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
	echo "make ha takes its programs out of Debian's packages: run it on Debian or Ubuntu, or name a folder that holds them in TIDEMARK_HA_TOOLS" >&2
	exit 1
fi

# PostgreSQL, and so Patroni, runs as another user than root, who can't enter root's home.
if [ "$(id -u)" -eq 0 ]; then
	cache=/var/cache/tidemark-test-ha
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidemark-test-ha
fi
packages="etcd-server patroni haproxy pgbouncer prometheus"
tools=$cache/root
if [ ! -e "$tools/complete" ]; then
	echo "fetching $packages from the system's packages, once" >&2
	mkdir -p "$cache/archives/partial"
	rm -rf "$tools" "$cache/unpacked"
	[ "$(id -u)" -ne 0 ] || apt-get update -qq
	# Only what this machine lacks is fetched: the rest of what they need is there.
	# shellcheck disable=SC2086 # one package a word
	apt-get -y -qq --no-install-recommends --reinstall --download-only -o Debug::NoLocking=1 \
		-o Dir::Cache::archives="$cache/archives" install $packages >/dev/null
	for archive in "$cache"/archives/*.deb; do
		dpkg -x "$archive" "$cache/unpacked"
	done
	touch "$cache/unpacked/complete"
	chmod -R a+rX "$cache"
	mv "$cache/unpacked" "$tools"
fi
echo "$tools"
