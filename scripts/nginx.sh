#!/bin/sh
# Prints the path of nginx. Where there is none it is installed from the
# system's packages, if this is root on a system with apt; otherwise says what
# to do. NGINX overrides the search.
set -eu

find_nginx() {
	for name in ${NGINX:+"$NGINX"} nginx /usr/sbin/nginx /opt/homebrew/bin/nginx; do
		if command -v "$name"; then
			return 0
		fi
	done
	return 1
}

if ! find_nginx; then
	if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		echo "installing nginx from the system's packages" >&2
		{
			apt-get update -qq
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx-light
		} >/dev/null
		find_nginx
	else
		echo "the tests of streams behind a proxy need nginx: install it, or name it in NGINX" >&2
		exit 1
	fi
fi
