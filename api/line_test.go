package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/memory"
)

// logged has the log written as JSON, from a level on.
func logged(w **world, level slog.Level) func(*Options) {
	return func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(logBuffer{w}, &slog.HandlerOptions{Level: level}))
	}
}

// logBuffer is the buffer of a world that is not there yet.
type logBuffer struct{ w **world }

func (b logBuffer) Write(p []byte) (int, error) { return (*b.w).log.Write(p) }

// lines returns the lines of requests since the last call, without what is another
// each time; numbers that must only be there are true.
func lines(t *testing.T, w *world) (list []map[string]any) {
	t.Helper()
	for text := range strings.SplitSeq(strings.TrimSpace(w.log.String()), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if line["msg"] != "request" {
			continue
		}
		for _, name := range []string{"time", "level", "msg", "ms", "address", "bytes"} {
			if _, ok := line[name]; !ok {
				t.Errorf("no %s in %s", name, text)
			}
			delete(line, name)
		}
		if ms, ok := line["db_ms"].(float64); ok {
			line["db_ms"] = ms > 0
		}
		if _, ok := line["queue_ms"].(float64); ok { // it may be nothing
			line["queue_ms"] = true
		}
		if id, ok := line["request_id"].(string); !ok || id == "" {
			t.Errorf("no request_id in %s", text)
		}
		delete(line, "request_id")
		list = append(list, line)
	}
	w.log.Reset()
	return list
}

// TestLog_request: the line of a request answers what became of an edit.
func TestLog_request(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, logged(&w, slog.LevelDebug))
	push := func(edits, more string) answer {
		return w.ask(http.MethodPost, "/v1/spaces/s1/push", `{"client_id":"laptop","edits":[`+edits+`]`+more+`}`)
	}
	edit := func(id, op, document string, base int64, data string) string {
		return fmt.Sprintf(`{"edit_id":%q,"op":%q,"collection":"c","id":%q,"base_version":%d,"data":%s}`, id, op, document, base, data)
	}
	var first, second struct {
		Version int64
		Cursor  string
	}
	parse(t, push(edit("e1", "put", "d", 0, `{"a":"hush","b":1}`), "").want(http.StatusOK, "").body, &first)
	parse(t, push(edit("e2", "patch", "d", first.Version, `{"a":2}`), "").want(http.StatusOK, "").body, &second)
	version := func(n int64) float64 { return float64(n) }
	pushed := func(more map[string]any) map[string]any {
		line := map[string]any{
			"method": "POST", "path": "/v1/spaces/s1/push", "status": 200.0, "subject": "alice", "space": "s1", "client_id": "laptop",
			"db_ms": true, "queue_ms": true, "edits": 1.0,
			"applied": 0.0, "merged": 0.0, "conflict": 0.0, "rejected": 0.0, "skipped": 0.0, "replayed": 0.0,
		}
		maps.Copy(line, more)
		return line
	}
	wantLines(t, w,
		pushed(map[string]any{"applied": 1.0, "version_from": 0.0, "version_to": version(first.Version), "edit_ids": []any{"e1=applied"}}),
		pushed(map[string]any{"applied": 1.0, "version_from": version(first.Version), "version_to": version(second.Version), "edit_ids": []any{"e2=applied"}}),
	)

	// Merged, replayed, conflict, rejected, skipped, and a pull in the same round trip.
	edits := strings.Join([]string{
		edit("e2", "patch", "d", first.Version, `{"a":2}`),
		edit("e3", "patch", "d", first.Version, `{"b":3}`),
		edit("e4", "put", "d", first.Version, `{}`),
		edit("e5", "put", "x", 0, `[]`),
		`{"edit_id":"e6","op":"put","collection":"c","id":"x","base_edit_id":"e5","data":{}}`,
	}, ",")
	var third struct {
		Version int64
		Cursor  string
	}
	parse(t, push(edits, `,"cursor":""`).want(http.StatusOK, "").body, &third)
	wantLines(t, w, pushed(map[string]any{
		"edits": 5.0, "applied": 2.0, "merged": 1.0, "conflict": 1.0, "rejected": 1.0, "skipped": 1.0, "replayed": 1.0,
		"version_from": version(second.Version), "version_to": version(third.Version),
		"edit_ids":  []any{"e2=applied", "e3=applied", "e4=conflict", "e5=rejected", "e6=skipped"},
		"cursor_in": 0.0, "cursor_out": version(third.Version), "changes": 1.0, "source": "database",
	}))

	pulled := func(path string, status float64, more map[string]any) map[string]any {
		line := map[string]any{"method": "GET", "path": path, "status": status, "subject": "alice", "space": "s1", "db_ms": false}
		maps.Copy(line, more)
		return line
	}
	at := version(third.Version)
	w.get("/v1/spaces/s1/changes").want(http.StatusOK, "")
	w.get("/v1/spaces/s1/changes?cursor="+third.Cursor).want(http.StatusOK, "")
	w.get("/v1/spaces/s1/changes?cursor=hush").want(http.StatusBadRequest, models.CodeInvalidCursor)
	w.get("/v1/spaces/s1/documents/c/d").want(http.StatusOK, "")
	got := lines(t, w)
	// Whether the tail has the page is the refresher's affair.
	for i := range got[:2] {
		if source := got[i]["source"]; source != "tail" && source != "database" || got[i]["db_ms"] != (source == "database") {
			t.Errorf("source is %v with db_ms %v", source, got[i]["db_ms"])
		}
		delete(got[i], "source")
		got[i]["db_ms"] = false
	}
	if diff := cmp.Diff([]map[string]any{
		pulled("/v1/spaces/s1/changes", 200, map[string]any{"cursor_in": 0.0, "cursor_out": at, "changes": 1.0}),
		pulled("/v1/spaces/s1/changes", 200, map[string]any{"cursor_in": at, "cursor_out": at, "changes": 0.0}),
		pulled("/v1/spaces/s1/changes", 400, map[string]any{"code": "invalid_cursor"}),
		pulled("/v1/spaces/s1/documents/c/d", 200, map[string]any{"db_ms": true}),
	}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}

	// A single document is a push of one edit.
	w.ask(http.MethodPut, "/v1/spaces/s1/documents/c/d", `{"a":"hush"}`, "If-None-Match", "*", "Idempotency-Key", "k1").want(http.StatusPreconditionFailed, models.CodeVersionConflict)
	wantLines(t, w, pushed(map[string]any{
		"method": "PUT", "path": "/v1/spaces/s1/documents/c/d", "status": 412.0, "code": "version_conflict", "client_id": "rest",
		"conflict": 1.0, "version_from": at, "version_to": at, "edit_ids": []any{"k1=conflict"},
	}))
}

func parse(t *testing.T, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

func wantLines(t *testing.T, w *world, want ...map[string]any) {
	t.Helper()
	if strings.Contains(w.log.String(), "hush") {
		t.Errorf("the log holds what is in a document:\n%s", w.log)
	}
	if diff := cmp.Diff(want, lines(t, w)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// Who edits what is told at level debug only.
func TestLog_editIDsOnDebug(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, logged(&w, slog.LevelInfo))
	body := `{"client_id":"laptop","edits":[{"edit_id":"e1","op":"put","collection":"c","id":"d","force":true,"data":{}}]}`
	w.ask(http.MethodPost, "/v1/spaces/s1/push", body).want(http.StatusOK, "")
	if log := w.log.String(); strings.Contains(log, "e1") || !strings.Contains(log, `"applied":1`) {
		t.Errorf("%s", log)
	}
}

// lostStore loses the answer of each commit.
type lostStore struct{ syncer.Store }

func (lostStore) Commit(context.Context, syncer.Group) error {
	for began := time.Now(); time.Since(began) < 2*time.Microsecond; { // the log counts in them
	}
	return &models.Error{Code: models.CodeOutcomeUnknown, Detail: "Ask again."}
}

// A push without an answer has a line, too: with its code, and without an outcome.
func TestLog_outcomeUnknown(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, logged(&w, slog.LevelDebug), func(o *Options) {
		o.Engine = syncer.New(lostStore{}, memory.New(), syncer.Options{})
	})
	body := `{"client_id":"laptop","edits":[{"edit_id":"e1","op":"put","collection":"c","id":"d","force":true,"data":{}}]}`
	w.ask(http.MethodPost, "/v1/spaces/s1/push", body).want(http.StatusServiceUnavailable, models.CodeOutcomeUnknown)
	wantLines(t, w, map[string]any{
		"method": "POST", "path": "/v1/spaces/s1/push", "status": 503.0, "code": "outcome_unknown", "subject": "alice", "space": "s1",
		"client_id": "laptop", "edits": 1.0, "db_ms": true, "queue_ms": true, "edit_ids": []any{"e1=unanswered"},
	})
}

// TestLog_stream: a stream has one line, at its end: why it ended, what it brought and
// between which versions.
func TestLog_stream(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, logged(&w, slog.LevelInfo))
	l := w.listen()
	first := l.made("s1", "a")
	second := l.made("s2", "b")
	w.log.Reset()

	drained := l.follow(streamPath)
	here := drained.page().Cursor
	several := l.follow("/v1/stream?space=s1&space=s2")
	several.page()
	several.page()
	gone := l.follow(streamPath + "?cursor=" + here)
	gone.stop()
	awaitStreams(t, l, 2)
	l.close()

	got := lines(t, w)
	slices.SortFunc(got, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	line := func(path string, more map[string]any) map[string]any {
		maps.Copy(more, map[string]any{"method": "GET", "path": path, "status": 200.0, "subject": "alice"})
		return more
	}
	want := []map[string]any{
		line(streamPath, map[string]any{"space": "s1", "ended": "client", "events": 0.0, "version_from": first, "version_to": first}),
		line(streamPath, map[string]any{"space": "s1", "ended": "shutdown", "events": 2.0, "version_from": 0.0, "version_to": first}),
		line("/v1/stream", map[string]any{
			"ended": "shutdown", "events": 3.0,
			"versions": []any{fmt.Sprintf("s1=0-%.0f", first), fmt.Sprintf("s2=0-%.0f", second)},
		}),
	}
	slices.SortFunc(want, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// made makes a document and returns its version.
func (l *listening) made(space, id string) float64 {
	l.t.Helper()
	var made struct{ Version float64 }
	answer := l.ask(http.MethodPut, "/v1/spaces/"+space+"/documents/c/"+id, `{}`, "If-None-Match", "*").want(http.StatusCreated, "")
	parse(l.t, answer.body, &made)
	return made.Version
}

// awaitStreams waits until no more than n streams are open.
func awaitStreams(t *testing.T, l *listening, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patient); l.server.streams.count() > n; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d streams are open, want %d", l.server.streams.count(), n)
		}
	}
}
