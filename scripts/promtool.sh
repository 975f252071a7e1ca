#!/bin/sh
# Prints the path of promtool, or of prometheus: scripts/promtool.sh prometheus.
# Where there is none it is taken out of the system's package, without installing
# that (it would start a service), if apt knows it; otherwise says what to do.
# PROMTOOL and PROMETHEUS override the search.
set -eu

tool=${1:-promtool}
given=$(eval "echo \"\${$(echo "$tool" | tr '[:lower:]' '[:upper:]'):-}\"")
unpacked=$(dirname "$0")/../bin/tools/prometheus

find_tool() {
	for name in ${given:+"$given"} "$tool" "$unpacked/usr/bin/$tool"; do
		if command -v "$name"; then
			return 0
		fi
	done
	return 1
}

if ! find_tool; then
	if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
		echo "taking Prometheus out of the system's package" >&2
		dir=$(mktemp -d)
		trap 'rm -rf "$dir"' EXIT
		{
			[ "$(id -u)" -ne 0 ] || apt-get update -qq
			(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root prometheus)
			mkdir -p "$unpacked"
			dpkg-deb -x "$dir"/prometheus_*.deb "$unpacked"
		} >/dev/null || exit 1
		find_tool
	else
		echo "checking the alerts needs promtool: install Prometheus, or name it in PROMTOOL" >&2
		exit 1
	fi
fi
