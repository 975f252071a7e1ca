package main

import (
	"fmt"
	"io"
	"strings"
)

// greet says where the server is. Its first line is for scripts too: it names
// the address that the server really listens on. metrics is where its metrics are, if
// that is another one.
func greet(w io.Writer, s *Settings, url, metrics string) {
	fmt.Fprintf(w, "tidemark: listening on %s\n\n", url)
	if metrics != "" {
		fmt.Fprintf(w, "  Metrics        %s\n", metrics)
	}
	// Every address of this machine: none that a browser or curl can open.
	url = strings.Replace(url, "//[::]:", "//localhost:", 1)
	url = strings.Replace(url, "//0.0.0.0:", "//localhost:", 1)
	if s.development() {
		fmt.Fprintf(w, development, url)
		return
	}
	fmt.Fprintf(w, "  API reference  %s/docs\n\n", url)
	if s.AuthSecret != "" {
		fmt.Fprintf(w, withSecret, url)
		return
	}
	fmt.Fprintf(w, "  Every request under /v1 needs a token signed by %s.\n\n", redact(s.AuthJWKS))
}

const development = `  Demo page      %[1]s/
  Gallery        %[1]s/gallery/
  API reference  %[1]s/docs

  No auth is configured: every program on this machine may read and write everything.

  Push an edit, then pull what changed:

    curl -s %[1]s/v1/spaces/hello/push -H 'Content-Type: application/json' \
      -d '{"client_id":"curl","edits":[{"edit_id":"e1","op":"put","collection":"todos","id":"t1","base_version":0,"data":{"title":"Milk","done":false}}]}'

    curl -s %[1]s/v1/spaces/hello/changes

`

const withSecret = `  Every request under /v1 needs a token. With TIDEMARK_AUTH_SECRET set as here:

    TOKEN=$(tidemark token --space hello=rw --subject alice --ttl 1h)
    curl -s %[1]s/v1/spaces/hello/changes -H "Authorization: Bearer $TOKEN"

`
