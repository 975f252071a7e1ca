package tests

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestREADME_example: the page that README shows is the page that the server
// shows at /example, so the one that the browser test runs.
func TestREADME_example(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(readFile(t, "README.md"), "```html\n")
	if !found {
		t.Fatal("README has no ```html block")
	}
	shown, _, _ := strings.Cut(rest, "```")
	if served := readFile(t, "api/web/example.html"); shown != served {
		t.Errorf("README's example is not api/web/example.html:\n%s\nwant:\n%s", shown, served)
	}
}

// exchange is a request in curl with the answer under it.
var exchange = regexp.MustCompile("(?s)```sh\ncurl -s localhost:8080(\\S+)([^`]*)\n```\n```json\n(.*?)```")

// body is what curl sends with -d.
var body = regexp.MustCompile(`(?s)-d '(.*)'`)

// TestREADME_curl: what README sends gets the answers that it shows, but for what
// is another each time.
func TestREADME_curl(t *testing.T) {
	t.Parallel()
	exchanges := exchange.FindAllStringSubmatch(readFile(t, "README.md"), -1)
	if len(exchanges) < 3 {
		t.Fatalf("README shows %d requests with their answers, want a push, a pull and a conflict", len(exchanges))
	}
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		for _, x := range exchanges {
			path, options, want := x[1], x[2], x[3]
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+path, nil)
			if sent := body.FindStringSubmatch(options); sent != nil && err == nil {
				request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+path, strings.NewReader(sent[1]))
				request.Header.Set("Content-Type", "application/json")
			}
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			if closeErr := response.Body.Close(); err != nil || closeErr != nil {
				t.Fatal(err, closeErr)
			}
			if diff := cmp.Diff(constant(t, want), constant(t, string(got))); diff != "" {
				t.Errorf("%s: the answer is not README's (-README +answer):\n%s", path, diff)
			}
		}
	})
}

// constant returns an answer without what is another each time.
func constant(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var blank func(any)
	blank = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, element := range value {
				blank(element)
			}
		case map[string]any:
			for name, member := range value {
				switch name {
				case "version", "cursor", "updated_at":
					value[name] = "…"
				default:
					blank(member)
				}
			}
		}
	}
	blank(value)
	return value
}
