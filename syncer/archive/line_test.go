package archive

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

// Texts come back byte for byte, whatever lies between their tokens.
func TestDocument_text(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"plain":            `{"a":1}`,
		"spaces":           `{ "a" :  1.00 , "b":[ ] }`,
		"characters":       "{\"<&>\":\"\u2028 \\u0041 ü\"}",
		"a line end":       "{\"a\":\n1}",
		"another line end": "{\r\"a\":1}",
		"spaces around":    "  {}\t",
		"large numbers":    `{"a":9007199254740991,"b":1e-7}`,
	} {
		want := models.Document{
			SpaceID: "s", Collection: "c", ID: "d", Version: 1<<53 - 1, Data: &text, Size: int64(len(text)), FieldVersions: `{"all":1,"absent":2}`,
			UpdatedAt: 3, UpdatedBy: "a \"b\" <c>", ClientID: "l", EditID: "e",
		}
		read := func(line []byte) models.Document {
			t.Helper()
			if bytes.ContainsAny(line, "\r\n") {
				t.Errorf("%s: more than one line: %q", name, line)
			}
			l, err := parse(line)
			if err != nil || l.Document == nil {
				t.Fatalf("%s: %v in %s", name, err, line)
			}
			got, err := l.Document.row("s")
			if err != nil {
				t.Fatalf("%s: %v in %s", name, err, line)
			}
			return got
		}
		line, err := appendDocument(nil, &want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		tombstone := want
		tombstone.Deleted, tombstone.Data, tombstone.Size = true, nil, 0
		if line, err = appendDocument(nil, &tombstone); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tombstone, read(line)); diff != "" {
			t.Errorf("%s, deleted (-want +got):\n%s", name, diff)
		}
	}
}

// nothing is a database that has nothing and takes everything.
type nothing struct{ documents, clients, finished int }

func (*nothing) StartImport(context.Context, *models.Space, []byte) (*models.Space, store.Imported, error) {
	return nil, store.Imported{}, nil
}

func (n *nothing) ImportRows(_ context.Context, documents []models.Document, clients []models.Client) error {
	n.documents += len(documents)
	n.clients += len(clients)
	if len(documents) > batchRows {
		return errors.New("a batch is too large")
	}
	return nil
}

func (n *nothing) FinishImport(_ context.Context, _ *models.Space, documents int64) error {
	n.finished++
	if int(documents) != n.documents {
		return errors.New("rows are missing")
	}
	return nil
}

const small = `{"tidemark":{"format":1,"source":"sqlite","version":"","at":"","spaces":1,"documents":1}}
{"space":{"id":"s","head":5,"floor":0,"epoch":"7","past_epochs":"[[0,0,5]]","deleted_through":0,"digest":"DIGEST","live_count":1,"created_at":0,"retention_ms":0}}
{"document":{"collection":"c","id":"d","version":5,"updated_at":0,"updated_by":"","client_id":"l","edit_id":"e","data":{}}}
{"end":{"space":"s","documents":1,"clients":0}}
{"done":{"spaces":1}}
`

// FuzzRead: whatever comes, reading it ends, without a panic, and nothing is finished
// that does not agree with itself.
func FuzzRead(f *testing.F) {
	good := strings.Replace(small, "DIGEST", digestOf(f), 1)
	f.Add([]byte(good))
	f.Add([]byte(small))
	for n := 0; n < len(good); n += 50 {
		f.Add([]byte(good[:n]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		target := &nothing{}
		all, err := Read(t.Context(), target, bytes.NewReader(text), ImportOptions{})
		if err == nil && all.Spaces != target.finished {
			t.Errorf("%d spaces are finished, %d are counted", target.finished, all.Spaces)
		}
	})
}

// digestOf finds the digest of small in what is said of a wrong one.
func digestOf(t testing.TB) string {
	t.Helper()
	_, err := Read(context.Background(), &nothing{}, strings.NewReader(strings.Replace(small, "DIGEST", "0000000000000000", 1)), ImportOptions{})
	if err == nil {
		t.Fatal("a wrong digest passes")
	}
	_, rest, found := strings.Cut(err.Error(), "its documents have ")
	if !found {
		t.Fatal(err)
	}
	return rest[:16]
}

func TestRead_small(t *testing.T) {
	t.Parallel()
	target := &nothing{}
	all, err := Read(t.Context(), target, strings.NewReader(strings.Replace(small, "DIGEST", digestOf(t), 1)), ImportOptions{})
	if want := (Import{Spaces: 1, Documents: 1}); err != nil || all != want || target.finished != 1 {
		t.Errorf("%+v, %v, want %+v", all, err, want)
	}
}
