package badinput_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	tally := harness.Count(t, "T10", 0)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		t.Run("cases", func(t *testing.T) {
			for _, input := range corpus(t) {
				t.Run(input.ID+" "+input.Name, func(t *testing.T) {
					t.Parallel()
					newAttempt(t, server, input, tally).run(generators[input.ID])
				})
				for _, variant := range variants[input.ID] {
					varied := input
					varied.ID += "v" // a space of its own
					t.Run(varied.ID+" "+variant.name, func(t *testing.T) {
						t.Parallel()
						newAttempt(t, server, varied, tally).run(variant.send)
					})
				}
			}
		})
		stillHealthy(t, server)
	})
}

// attempt is one case against one server.
type attempt struct {
	badInput
	t      *testing.T
	tally  *harness.Tally
	server *harness.Server
	space  string // stands for s1 of the corpus, so that cases do not meet each other's documents
	other  string // stands for s2
	token  string // read and write for both
}

func newAttempt(t *testing.T, server *harness.Server, input badInput, tally *harness.Tally) *attempt {
	a := &attempt{badInput: input, t: t, tally: tally, server: server, space: "s1-" + input.ID, other: "s2-" + input.ID}
	a.token = harness.Token(harness.Claims{"spaces": harness.Claims{a.space: "rw", a.other: "rw"}})
	a.Path = strings.NewReplacer("/s1/", "/"+a.space+"/", "/s2/", "/"+a.other+"/").Replace(input.Path)
	if ours, ok := differs[input.ID]; ok {
		a.Want = ours.want
	}
	return a
}

// run sends the case, as it stands in the corpus if there is no send for it.
func (a *attempt) run(send func(*attempt) harness.Answer) {
	a.t.Helper()
	if send == nil {
		send = (*attempt).plain
	}
	answer := send(a)
	a.tally.Add(harness.Figures{BadInputs: 1})
	if answer.Status >= 500 && a.Want.Status != http.StatusNotImplemented {
		a.tally.Add(harness.Figures{ServerErrors: 1})
		a.t.Fatalf("answered %d: %.500s", answer.Status, answer.Body)
	}
	if answer.Status != a.Want.Status {
		a.t.Fatalf("answered %d %.500s, want %d %s", answer.Status, answer.Body, a.Want.Status, a.Want.code())
	}
	switch {
	case a.Want.Status >= 400 && a.Want.Code != nil:
		a.wantProblem(answer)
	case a.Want.Result != "":
		a.wantRejected(answer)
	case a.Method == http.MethodPost && a.Want.Status == http.StatusOK:
		a.wantApplied(answer)
	}
}

// plain sends the request as the corpus has it.
func (a *attempt) plain() harness.Answer {
	a.t.Helper()
	headers := http.Header{}
	for name, value := range a.Headers {
		headers.Set(name, value)
	}
	return a.do(headers, a.Body)
}

func (a *attempt) do(headers http.Header, body []byte) harness.Answer {
	a.t.Helper()
	client := a.server.Client(a.token)
	if strings.HasPrefix(a.Group, "G") || strings.Contains(a.Name, "no token") {
		client.Token = ""
	}
	answer, err := client.Do(a.t.Context(), a.Method, encodeQuery(a.Path), headers, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer
}

// encodeQuery writes a query as a client would that was given its values: the
// corpus shows them bare. A path stays as it is, its encoding is part of the case.
func encodeQuery(path string) string {
	path, query, found := strings.Cut(path, "?")
	if !found {
		return path
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		pairs[i] = name + "=" + url.QueryEscape(value)
	}
	return path + "?" + strings.Join(pairs, "&")
}

func (a *attempt) wantProblem(answer harness.Answer) {
	a.t.Helper()
	problem := answer.Problem()
	if problem.Code != a.Want.code() || problem.Status != answer.Status {
		a.t.Errorf("answered %v, want the code %s", problem, a.Want.code())
	}
	if problem.Type != "/problems/"+problem.Code || problem.Title == "" || problem.Detail == "" {
		a.t.Errorf("type %q, title %q and detail %q do not tell a client what to do", problem.Type, problem.Title, problem.Detail)
	}
	if len(a.changes()) > 0 {
		a.t.Error("a refused request changed something")
	}
}

func (a *attempt) wantRejected(answer harness.Answer) {
	a.t.Helper()
	result := a.results(answer)[0]
	if result.Status != a.Want.Result || result.Error == nil || result.Error.Code != a.Want.code() {
		a.t.Errorf("result %+v with error %+v, want %s %s", result, result.Error, a.Want.Result, a.Want.code())
	}
	if len(a.changes()) > 0 {
		a.t.Error("a rejected edit changed something")
	}
}

// wantApplied expects every edit applied and pull to bring every document back
// as it was sent.
func (a *attempt) wantApplied(answer harness.Answer) {
	a.t.Helper()
	for _, result := range a.results(answer) {
		if result.Status != "applied" {
			a.t.Fatalf("edit %s is %s (%+v), want applied", result.EditID, result.Status, result.Error)
		}
	}
	var sent struct {
		Edits []struct {
			ID   string
			Data json.RawMessage
		}
	}
	if err := json.Unmarshal(a.Body, &sent); err != nil {
		a.t.Fatal(err)
	}
	stored := map[string]json.RawMessage{}
	for _, change := range a.changes() {
		stored[change.ID] = change.Data
	}
	for _, edit := range sent.Edits {
		if !bytes.Equal(stored[edit.ID], edit.Data) {
			a.t.Errorf("document %s came back as %.200s, was sent as %.200s", edit.ID, stored[edit.ID], edit.Data)
		}
	}
}

func (a *attempt) results(answer harness.Answer) []harness.Result {
	a.t.Helper()
	var body harness.PushAnswer
	if err := answer.Decode(&body); err != nil {
		a.t.Fatal(err)
	}
	if len(body.Results) == 0 {
		a.t.Fatalf("no results in %.300s", answer.Body)
	}
	return body.Results
}

// changes is what the case left in its space.
func (a *attempt) changes() []harness.Change {
	a.t.Helper()
	changes, _, err := a.server.Client(a.token).PullAll(a.t.Context(), a.space, harness.Pull{})
	if err != nil {
		a.t.Fatalf("pull after the case: %v", err)
	}
	return changes
}

func stillHealthy(t *testing.T, server *harness.Server) {
	t.Helper()
	client := server.Client(harness.Token(harness.Claims{"spaces": harness.Claims{"s1": "rw"}}))
	for _, path := range []string{"/healthz", "/readyz"} {
		if answer, err := client.Do(t.Context(), http.MethodGet, path, nil, nil); err != nil || answer.Status != http.StatusOK {
			t.Errorf("after the corpus %s answers %d, %v", path, answer.Status, err)
		}
	}
	edit := harness.Edit{EditID: "healthy", Op: "put", Collection: "c", ID: "d1", BaseVersion: harness.At(0), Data: []byte(`{"a":1}`)}
	answer, err := client.Push(t.Context(), "s1", harness.Push{ClientID: "c1", Edits: []harness.Edit{edit}})
	if err != nil || answer.Results[0].Status != "applied" {
		t.Fatalf("after the corpus a healthy push is answered with %+v, %v", answer, err)
	}
	changes, _, err := client.PullAll(t.Context(), "s1", harness.Pull{})
	if err != nil || len(changes) != 1 || changes[0].Version != answer.Version {
		t.Fatalf("after the corpus a healthy pull is answered with %+v, %v", changes, err)
	}
}
