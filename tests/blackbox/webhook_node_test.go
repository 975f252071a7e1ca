package blackbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestWebhook_verifiedInNode: what deploy/README.md has for Node takes what a server
// sends, and nothing that was changed or is old.
func TestWebhook_verifiedInNode(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	harness.Need(t, err)
	_, module, found := strings.Cut(harness.File(t, "deploy/README.md"), "```js\nimport { createHmac")
	module, _, _ = strings.Cut("import { createHmac"+module, "```")
	if !found {
		t.Fatal("deploy/README.md has no verifier")
	}

	type request struct {
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	}
	sent := make(chan request, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		headers := make(map[string]string)
		for name := range r.Header {
			headers[strings.ToLower(name)] = r.Header.Get(name) // as Node has them
		}
		select {
		case sent <- request{headers, string(body)}:
		default: // one is enough
		}
	}))
	defer receiver.Close()
	server := harness.Start(t, harness.Options{Env: []string{"TIDEMARK_WEBHOOK_URL=" + receiver.URL, "TIDEMARK_WEBHOOK_SECRET=" + validationSecret}})
	mustPush(t, server.Client(""), "home", put("e1", "d1", 0, `{}`))
	var genuine request
	select {
	case genuine = <-sent:
	case <-time.After(time.Minute):
		t.Fatal("the server sends nothing")
	}

	with := func(name, value string) request {
		headers := map[string]string{name: value}
		for n, v := range genuine.Headers {
			if n != name {
				headers[n] = v
			}
		}
		return request{headers, genuine.Body}
	}
	signature := genuine.Headers["webhook-signature"]
	seconds, err := strconv.ParseInt(genuine.Headers["webhook-timestamp"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		Name string  `json:"-"`
		Late int64   `json:"late"` // milliseconds that the receiver's clock is ahead
		Sent request `json:"sent"`
		Want bool    `json:"-"`
	}{
		{"what the server has sent", 0, genuine, true},
		{"with another key's signature before it", 0, with("webhook-signature", "v1,"+strings.Repeat("A", 43)+"= "+signature), true},
		{"another body", 0, request{genuine.Headers, strings.Replace(genuine.Body, "home", "work", 1)}, false},
		{"another id", 0, with("webhook-id", "msg_other"), false},
		{"a later time", 0, with("webhook-timestamp", strconv.FormatInt(seconds+1, 10)), false},
		{"without a signature", 0, request{map[string]string{"webhook-id": genuine.Headers["webhook-id"], "webhook-timestamp": genuine.Headers["webhook-timestamp"]}, genuine.Body}, false},
		{"half a signature", 0, with("webhook-signature", signature[:len(signature)/2]), false},
		{"the same ten minutes later", 600_000, genuine, false},
		{"ten minutes before it was sent", -600_000, genuine, false},
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "verified.mjs", []byte(module))
	program := write(t, dir, "try.mjs", []byte(`
import { readFileSync } from "node:fs";
import { verified } from "./verified.mjs";
const now = Date.now;
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(({ late, sent }) => {
  Date.now = () => now() + late;
  return verified(sent.headers, Buffer.from(sent.body));
})));`))
	cmd := exec.CommandContext(t.Context(), node, program)
	cmd.Env = append(os.Environ(), "TIDEMARK_WEBHOOK_SECRET="+validationSecret)
	cmd.Stdin = strings.NewReader(string(input))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	var got []bool
	if err == nil {
		err = json.Unmarshal(stdout, &got)
	}
	if err != nil || len(got) != len(cases) {
		t.Fatalf("%v: %s%s", err, stdout, stderr.String())
	}
	for i, c := range cases {
		if got[i] != c.Want {
			t.Errorf("%s: verified is %v", c.Name, got[i])
		}
	}
}
