package badinput_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
)

// socketTimeout is when an answer on a raw socket counts as a hang. It is longer
// than the 15 s in which the server gives up on a slow body.
const socketTimeout = 40 * time.Second

// generators send the cases that the corpus gives in words or with placeholders.
var generators = map[string]func(*attempt) harness.Answer{
	"B08": func(a *attempt) harness.Answer { return a.document(`{"n":` + strings.Repeat("9", 100_000) + `}`) },
	"C02": func(a *attempt) harness.Answer { return a.document(nested(9_990)) },
	"C03": func(a *attempt) harness.Answer { return a.document(nested(10_001)) },
	"C05": func(a *attempt) harness.Answer { return a.document(`{"s":"` + strings.Repeat("x", 262_145) + `"}`) },
	"C06": func(a *attempt) harness.Answer { return a.document(documentOf(262_144)) },
	"C08": func(a *attempt) harness.Answer { return a.document(`{"` + strings.Repeat("k", 65_536) + `":1}`) },
	"C09": tooManyEdits,
	"C12": func(a *attempt) harness.Answer {
		push := pushOf(`{}`)
		return a.post(push + strings.Repeat(" ", 1_048_577-len(push)))
	},
	"C14": func(a *attempt) harness.Answer { return a.post(bomb()) },
	"C15": func(a *attempt) harness.Answer { return a.post(zipped(zipped(pushOf(`{}`)))) },
	"E07": cursorOfAnotherSpace,
	"F10": twiceAtOnce,
	"F13": func(a *attempt) harness.Answer {
		return a.do(http.Header{"X-Large": {strings.Repeat("x", 21<<10)}}, nil)
	},
	"F14": func(a *attempt) harness.Answer {
		a.Path = strings.ReplaceAll(a.Path, "...", strings.Repeat("x", 9<<10))
		return a.plain()
	},
	"F16": func(a *attempt) harness.Answer {
		return a.raw(a.requestLine() + "Content-Type: application/json\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nnull ")
	},
	"F17": func(a *attempt) harness.Answer {
		return a.raw(a.requestLine() + "Content-Type: application/json\r\nTransfer-Encoding: xchunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n")
	},
	"F19": slowBody,
	"F20": func(a *attempt) harness.Answer { return a.raw(a.requestLine() + "\r\n") },
	"F22": manyForwarded,
	"G03": func(a *attempt) harness.Answer {
		return a.bearer(a.signed(nil, harness.Claims{"nbf": time.Now().Add(time.Hour).Unix()}))
	},
	"G04": func(a *attempt) harness.Answer {
		// An attacker has no key, so the third part is empty.
		token := a.signed(harness.Claims{"alg": "none"}, nil)
		return a.bearer(token[:strings.LastIndex(token, ".")+1])
	},
	"G06": func(a *attempt) harness.Answer {
		// /dev/null reads as an empty key, with which anybody can sign.
		return a.bearer(harness.Sign("", harness.Claims{"alg": "HS256", "kid": "../../dev/null"}, a.rights()))
	},
	"G07": func(a *attempt) harness.Answer {
		return a.bearer(harness.Sign("the attacker's own key, which the header points to", harness.Claims{
			"alg": "HS256", "jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/x5u",
			"jwk": harness.Claims{"kty": "oct", "k": "YXR0YWNr"},
		}, a.rights()))
	},
	"G09": func(a *attempt) harness.Answer { return a.bearer(a.signed(nil, harness.Claims{"spaces": nil})) },
	"G10": func(a *attempt) harness.Answer { return a.bearer(strings.Repeat(".", 100_000)) },
	"G12": func(a *attempt) harness.Answer {
		return a.bearer(a.signed(nil, harness.Claims{"exp": time.Now().AddDate(10, 0, 0).Unix()}))
	},
	"G13": func(a *attempt) harness.Answer { return a.bearer(a.tokenOfSpaces(30_000)) },
	"G15": func(a *attempt) harness.Answer {
		a.Path += "?access_token=" + a.token
		return a.plain()
	},
	"G16": func(a *attempt) harness.Answer {
		return a.do(http.Header{"Authorization": {"Bearer " + a.token, "Bearer " + a.token}}, nil)
	},
}

// variants are cases of the corpus at another size or in another spelling, with
// the answer that the corpus wants.
var variants = map[string][]struct {
	name string
	send func(*attempt) harness.Answer
}{
	"G10": {{"4,000 dots", func(a *attempt) harness.Answer { return a.bearer(strings.Repeat(".", 4_000)) }}},
	"G13": {{"300 spaces claimed", func(a *attempt) harness.Answer { return a.bearer(a.tokenOfSpaces(300)) }}},
	"G16": {{"two tokens in one header", (*attempt).plain}},
}

func pushOf(document string) string {
	return `{"client_id":"c1","edits":[{"edit_id":"m1","op":"put","collection":"c","id":"d1","base_version":0,"data":` + document + `}]}`
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// documentOf returns an object that is written in so many bytes.
func documentOf(size int) string {
	const frame = `{"s":""}`
	return `{"s":"` + strings.Repeat("x", size-len(frame)) + `"}`
}

func zipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	io.WriteString(w, text)
	w.Close()
	return out.String()
}

// bomb is 1 GiB of zeros in about 1 MB: a gzip file may hold many members, so
// one of 16 MiB is enough.
var bomb = sync.OnceValue(func() string { return strings.Repeat(zipped(strings.Repeat("\x00", 16<<20)), 64) })

func (a *attempt) document(text string) harness.Answer {
	a.t.Helper()
	return a.post(pushOf(text))
}

func (a *attempt) post(body string) harness.Answer {
	a.t.Helper()
	a.Body = []byte(body)
	return a.plain()
}

func tooManyEdits(a *attempt) harness.Answer {
	a.t.Helper()
	edits := make([]string, 201)
	for i := range edits {
		edits[i] = fmt.Sprintf(`{"edit_id":"m%d","op":"put","collection":"c","id":"d%d","base_version":0,"data":{}}`, i, i)
	}
	return a.post(`{"client_id":"c1","edits":[` + strings.Join(edits, ",") + `]}`)
}

func cursorOfAnotherSpace(a *attempt) harness.Answer {
	a.t.Helper()
	page, err := a.server.Client(a.token).Pull(a.t.Context(), a.other, harness.Pull{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.Path = strings.ReplaceAll(a.Path, "<valid cursor of s2>", page.Cursor)
	return a.plain()
}

// twiceAtOnce sends the same push on two connections: one takes effect, the
// other is told so.
func twiceAtOnce(a *attempt) harness.Answer {
	a.t.Helper()
	a.Body = []byte(pushOf(`{"a":1}`))
	client := a.server.Client(a.token)
	answers := make([]harness.Answer, 2)
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i := range answers {
		both.Go(func() {
			answers[i], errs[i] = client.Do(a.t.Context(), a.Method, a.Path, http.Header{"Content-Type": {"application/json"}}, a.Body)
		})
	}
	both.Wait()
	replayed := 0
	for i, answer := range answers {
		if errs[i] != nil {
			a.t.Fatal(errs[i])
		}
		if a.results(answer)[0].Replayed {
			replayed++
		}
	}
	if replayed != 1 {
		a.t.Errorf("%d of two equal pushes are replayed, want 1", replayed)
	}
	return answers[0]
}

func manyForwarded(a *attempt) harness.Answer {
	a.t.Helper()
	var last harness.Answer
	for i := range 300 {
		last = a.do(http.Header{"X-Forwarded-For": {fmt.Sprintf("10.0.%d.%d", i/256, i%256)}}, nil)
		if last.Status != a.Want.Status {
			break
		}
	}
	return last
}

// slowBody promises a body and sends a byte of it each second.
func slowBody(a *attempt) harness.Answer {
	a.t.Helper()
	conn := a.dial()
	body := pushOf(`{"a":1}`)
	fmt.Fprintf(conn, "%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", a.requestLine(), len(body))
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range body {
			select {
			case <-tick.C:
				io.WriteString(conn, body[i:i+1]) // fails once the server has given up
			case <-answered:
				return
			}
		}
	}()
	return a.read(conn)
}

func (a *attempt) requestLine() string {
	return a.Method + " " + a.Path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer " + a.token + "\r\n"
}

// raw sends bytes that no HTTP client would.
func (a *attempt) raw(request string) harness.Answer {
	a.t.Helper()
	conn := a.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		a.t.Fatal(err)
	}
	return a.read(conn)
}

func (a *attempt) dial() net.Conn {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.server.URL(), "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(socketTimeout))
	return conn
}

func (a *attempt) read(conn net.Conn) harness.Answer {
	a.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return harness.Answer{Status: response.StatusCode, Header: response.Header, Body: body}
}

func (a *attempt) rights() harness.Claims {
	return harness.Claims{"spaces": harness.Claims{a.space: "rw", a.other: "rw"}}
}

// signed is a token with the right key and rights, but for what is given.
func (a *attempt) signed(header, claims harness.Claims) string {
	all := harness.Claims{"alg": "HS256", "typ": "JWT"}
	maps.Copy(all, header)
	rights := a.rights()
	maps.Copy(rights, claims)
	return harness.Sign(harness.Secret, all, rights)
}

func (a *attempt) tokenOfSpaces(count int) string {
	spaces := harness.Claims{a.space: "rw"}
	for i := range count {
		spaces[fmt.Sprintf("space-%d", i)] = "rw"
	}
	return a.signed(nil, harness.Claims{"spaces": spaces})
}

func (a *attempt) bearer(token string) harness.Answer {
	a.t.Helper()
	return a.do(http.Header{"Authorization": {"Bearer " + token}}, nil)
}

// TestCorpus_everyCaseInWordsIsSent holds generators against the corpus, so that
// a new line with words in it cannot pass by being sent without its body.
func TestCorpus_everyCaseInWordsIsSent(t *testing.T) {
	t.Parallel()
	for _, input := range corpus(t) {
		placeholder := strings.Contains(input.Path, "<valid")
		for _, value := range input.Headers {
			placeholder = placeholder || strings.Contains(value, "<")
		}
		if (input.Gen != "" || placeholder) && generators[input.ID] == nil {
			t.Errorf("%s says %q, but nothing sends it", input.ID, input.Gen)
		}
	}
}
