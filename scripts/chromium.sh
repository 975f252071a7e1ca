#!/bin/sh
# Prints the path of a Chromium or Chrome. Where there is none it is installed
# from the system's packages, if this is root on a system with apt; otherwise
# says what to do. CHROMIUM overrides the search.
set -eu

find_browser() {
	for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome-stable google-chrome \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
		"/Applications/Chromium.app/Contents/MacOS/Chromium"; do
		if command -v "$name"; then
			return 0
		fi
	done
	return 1
}

if ! find_browser; then
	if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		echo "installing Chromium from the system's packages" >&2
		{
			apt-get update -qq
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
				chromium fonts-liberation fonts-noto-color-emoji
		} >/dev/null
		find_browser
	else
		echo "the browser tests need Chromium or Chrome: install it, or name it in CHROMIUM" >&2
		exit 1
	fi
fi
