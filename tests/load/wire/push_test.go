package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocument_hasItsSize(t *testing.T) {
	t.Parallel()
	for _, n := range []uint64{0, 7, 999_999_999_999, 18_446_744_073_709_551_615} {
		document := Document(n)
		if len(document) != DocumentBytes || !json.Valid(document) {
			t.Errorf("document %d has %d bytes: %s", n, len(document), document)
		}
	}
}

// The bytes of a push are read as net/http reads them: head, length and body
// must agree, also in the second push of the same maker, which is shorter.
func TestPush_Request(t *testing.T) {
	t.Parallel()
	target := Target{Host: "example.com", Path: "/base"}
	p := NewPush(target, "team", "a-token", "client-7")
	p.Begin()
	for i := range uint64(100) {
		p.Put(1000+i, int64(i))
	}
	readPush(t, p.Request())
	p.Begin()
	p.Put(5, 0)
	p.Put(6, 17)
	got := readPush(t, p.Request())
	want := map[string]any{"client_id": "client-7", "edits": []any{
		map[string]any{"edit_id": "client-7-101", "op": "put", "collection": "todos", "id": "5", "base_version": 0.0, "data": decoded(t, Document(101))},
		map[string]any{"edit_id": "client-7-102", "op": "put", "collection": "todos", "id": "6", "base_version": 17.0, "data": decoded(t, Document(102))},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func readPush(t *testing.T, raw []byte) any {
	t.Helper()
	reader := bufio.NewReader(bytes.NewReader(raw))
	request, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatal(err)
	}
	if request.URL.Path != "/base/v1/spaces/team/push" || request.Host != "example.com" || request.Header.Get("Authorization") != "Bearer a-token" {
		t.Errorf("a push is sent as %+v", request)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Fatal(err)
	}
	if reader.Buffered() != 0 {
		t.Errorf("%d bytes follow the body", reader.Buffered())
	}
	return decoded(t, body)
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

func TestScanPush(t *testing.T) {
	t.Parallel()
	const body = `{"results":[{"edit_id":"a-1","status":"applied","version":21},` +
		`{"edit_id":"a-2","status":"conflict","current":{"collection":"todos","id":"1","version":99,"deleted":false,"data":{},"edit_id":"b-1"},"conflicting_fields":["n"]},` +
		`{"edit_id":"a-3","status":"applied","version":9007199254740991,"replayed":true}],"version":22,"poll_after_ms":1000}`
	got, err := ScanPush([]byte(body), nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []Fate{{true, 21}, {false, 0}, {true, 9007199254740991}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, edits := range []int{2, 4} {
		if _, err := ScanPush([]byte(body), nil, edits); err == nil {
			t.Errorf("3 results were taken for the answer to %d edits", edits)
		}
	}
	for _, result := range []string{
		`{"results":[{"edit_id":"a","status":"rejected","error":{"code":"invalid_document"}}],"version":1}`,
		`{"results":[{"edit_id":"a","status":"skipped"}],"version":1}`,
		`{"results":[{"edit_id":"a","status":"applied","version":x}]}`,
		`{"results":[{"edit_id":"a","status":"applied"}]}`,
	} {
		if _, err := ScanPush([]byte(result), nil, 1); err == nil {
			t.Errorf("no error for %s", result)
		}
	}
}

func TestScanPage(t *testing.T) {
	t.Parallel()
	const change = `{"collection":"todos","id":"1","version":7,"deleted":false,"data":{"n":"1"},"updated_by":"s","client_id":"client-0","edit_id":"client-0-12"}`
	for body, want := range map[string]Page{
		`{"changes":[],"cursor":"AQ-_","has_more":false,"version":7,"poll_after_ms":1}`:                             {0, []byte("AQ-_"), false},
		`{"changes":[` + change + "," + change + `],"cursor":"x","has_more":true,"version":7}`:                      {2, []byte("x"), true},
		`{"space":"a","changes":[` + change + `],"cursor":"x","has_more":false,"version":7,"digest":"9","count":1}`: {1, []byte("x"), false},
	} {
		got, err := ScanPage([]byte(body))
		if err != nil {
			t.Errorf("%v in %s", err, body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	for _, body := range []string{"", `{"status":401}`, `{"changes":[],"cursor":"x`, `{"changes":[],"cursor":"x"}`} {
		if _, err := ScanPage([]byte(body)); err == nil {
			t.Errorf("%q was taken for a page", body)
		}
	}
}

func TestEachEdit(t *testing.T) {
	t.Parallel()
	const body = `{"changes":[{"client_id":"client-0","edit_id":"client-0-12"},{"edit_id":"client-01-5"},{"edit_id":"client-0-4096"}]}`
	var got []uint64
	EachEdit([]byte(body), "client-0", func(n uint64) { got = append(got, n) })
	if diff := cmp.Diff([]uint64{12, 4096}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
