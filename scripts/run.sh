#!/bin/sh
# make run: the server in the foreground. With OPEN=1 also a browser, once the
# server answers.
set -eu

binary=$1
shift

if [ "${OPEN:-}" = 1 ]; then
	# Bounded, and in the background because the server wants the terminal.
	(
		tries=0
		until "$binary" healthcheck >/dev/null 2>&1; do
			tries=$((tries + 1))
			[ "$tries" -lt 50 ] || exit 0
			sleep 0.2
		done
		url=http://${TIDEMARK_LISTEN:-127.0.0.1:8080}/
		if command -v xdg-open; then
			xdg-open "$url"
		elif command -v open; then
			open "$url"
		else
			echo "no xdg-open or open here: visit $url" >&2
		fi
	) >/dev/null &
fi

exec "$binary" serve "$@"
