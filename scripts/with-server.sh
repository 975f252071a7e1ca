#!/bin/sh
# Runs a command beside a Tidemark server of its own:
#
#	scripts/with-server.sh bin/tidemark command [argument ...]
#
# The server listens on a free port with an empty SQLite database in a
# temporary folder, without auth; the command finds it in TIDEMARK_URL. The
# server and its folder are gone when the command ends, however it ends.
set -eu

binary=$1
shift
dir=$(mktemp -d)
server=
command=

end() {
	status=$?
	trap - EXIT INT TERM
	for process in $command $server; do
		kill "$process" 2>/dev/null || true
		wait "$process" 2>/dev/null || true
	done
	if [ "$status" -ne 0 ]; then
		echo "with-server: the command failed ($status); the server's log ends:" >&2
		tail -n 20 "$dir/log" >&2 2>/dev/null || true
	fi
	rm -rf "$dir"
	exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The first line on stdout names the address; reading it from a pipe is the
# wait for the server, and end of file means that it did not start.
mkfifo "$dir/stdout"
(
	# Settings of the caller are not this server's.
	for name in $(env | sed -n 's/^\(TIDEMARK_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
	exec "$binary" serve --listen 127.0.0.1:0 --database-url "sqlite:$dir/tidemark.db"
) >"$dir/stdout" 2>"$dir/log" &
server=$!
exec 3<"$dir/stdout"
if ! read -r line <&3; then
	echo "with-server: the server did not start" >&2
	exit 1
fi
cat <&3 >/dev/null & # so that the server never waits for a reader
exec 3<&-

TIDEMARK_URL=${line#tidemark: listening on }
export TIDEMARK_URL
# In the background because a shell that waits for a command in the foreground
# hears no signal until it ends.
"$@" &
command=$!
wait "$command"
