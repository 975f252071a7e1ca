package access_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/tests/harness"
)

// named fills in the parameters of a path with what is there.
var named = strings.NewReplacer("{space}", "red", "{collection}", "todos", "{id}", "t1", "{client_id}", "c1")

// odd are ways to write a path. What a proxy or a router may take for the same must not
// be another thing to whoever asks for the token.
var odd = map[string]func(path string) string{
	"as it is":              func(p string) string { return p },
	"a slash behind":        func(p string) string { return p + "/" },
	"two slashes":           func(p string) string { return "/" + p },
	"slashes doubled":       func(p string) string { return strings.ReplaceAll(p, "/", "//") },
	"a dot":                 func(p string) string { return "/." + p },
	"an escaped dot":        func(p string) string { return "/%2e" + p },
	"dots":                  func(p string) string { return "/x/.." + p },
	"escaped dots":          func(p string) string { return "/x/%2e%2e" + p },
	"out of a public page":  func(p string) string { return "/docs/.." + p },
	"out of it, escaped":    func(p string) string { return "/docs/%2E%2E" + p },
	"beside health":         func(p string) string { return "/healthz/.." + p },
	"below a public route":  func(p string) string { return "/v1/config" + p },
	"dots at the end":       func(p string) string { return p + "/." },
	"upper case":            strings.ToUpper,
	"the first escaped":     func(p string) string { return "/%" + fmt.Sprintf("%02x", p[1]) + p[2:] },
	"the last escaped":      func(p string) string { return p[:len(p)-1] + "%" + fmt.Sprintf("%02X", p[len(p)-1]) },
	"slashes escaped":       func(p string) string { return "/" + strings.ReplaceAll(p[1:], "/", "%2f") },
	"escaped twice":         func(p string) string { return "/" + strings.ReplaceAll(p[1:], "/", "%252f") },
	"backslashes":           func(p string) string { return "/" + strings.ReplaceAll(p[1:], "/", `\`) },
	"a matrix parameter":    func(p string) string { return p + ";x=.css" },
	"as a file":             func(p string) string { return p + ".css" },
	"NUL behind":            func(p string) string { return p + "%00" },
	"a space behind":        func(p string) string { return p + "%20" },
	"a token in the query":  func(p string) string { return p + "?access_token=x&token=x&authorization=Bearer%20x" },
	"a ticket in the query": func(p string) string { return p + "?ticket=x" },
	"a public query":        func(p string) string { return p + "?/healthz" },
	"another host":          func(p string) string { return "http://localhost" + p },
}

var methods = []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get"}

// headersFor are headers that might let somebody in, with one method of all.
func headersFor(method string) []string {
	if method != http.MethodGet {
		return []string{""}
	}
	return []string{"", "Authorization: \r\n", "X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\nX-Forwarded-Prefix: /healthz\r\n"}
}

// line is a connection on which requests stand as the test writes them.
type line struct {
	t       *testing.T
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

// ask sends a request and returns the status and the body of its answer.
func (l *line) ask(method, target, headers string) (int, string) {
	l.t.Helper()
	if l.conn == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(l.t.Context(), "tcp", l.address)
		if err != nil {
			l.t.Fatal(err)
		}
		l.conn, l.reader = conn, bufio.NewReader(conn)
	}
	if err := l.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	fmt.Fprintf(l.conn, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, target, headers)
	answer, err := http.ReadResponse(l.reader, &http.Request{Method: method})
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, target, err)
	}
	if answer.Close {
		l.hangUp()
	}
	return answer.StatusCode, string(body)
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// TestRoutes_noWayAround: what is not public is 401 without a token, however its path
// is written and whatever the method is. (400 is net/http's, for what is no request.)
func TestRoutes_noWayAround(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	newTenant(t, server, "red", "mark-of-red") // so that there is something to see
	l := &line{t: t, address: strings.TrimPrefix(server.URL(), "http://")}
	defer l.hangUp()
	asked := 0
	for _, r := range api.Routes() {
		if r.Public {
			continue
		}
		for form, write := range odd {
			target := write(named.Replace(r.Path))
			for _, method := range methods {
				for _, headers := range headersFor(method) {
					status, body := l.ask(method, target, headers)
					if asked++; status != http.StatusUnauthorized && status != http.StatusBadRequest || strings.Contains(body, "mark-of-red") {
						t.Errorf("%s: %s %s is %d: %.200s", form, method, target, status, body)
					}
				}
			}
		}
	}
	if asked < 4000 {
		t.Errorf("only %d requests", asked)
	}
}

// What lies beyond a public route is public too, but there is nothing.
func TestRoutes_beyondPublicOnes(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	newTenant(t, server, "red", "mark-of-red")
	l := &line{t: t, address: strings.TrimPrefix(server.URL(), "http://")}
	defer l.hangUp()
	for _, prefix := range []string{"/assets/", "/problems/"} {
		for _, r := range api.Routes() {
			for _, out := range []string{"..", "%2e%2e", "..%2f..", "%2e%2e%2f", "..%5c"} {
				target := prefix + out + named.Replace(r.Path)
				if status, body := l.ask(http.MethodGet, target, ""); status != http.StatusNotFound && status != http.StatusUnauthorized || strings.Contains(body, "mark-of-red") {
					t.Errorf("%s is %d: %.200s", target, status, body)
				}
			}
		}
	}
	for _, file := range []string{"../go.mod", "..%2f..%2fgo.mod", "%2e%2e/openapi.yaml", "/etc/passwd", "%2fetc%2fpasswd", "index.html"} {
		if status, body := l.ask(http.MethodGet, "/assets/"+file, ""); status != http.StatusNotFound {
			t.Errorf("/assets/%s is %d: %.100s", file, status, body)
		}
	}
}
