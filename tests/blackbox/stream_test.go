package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
)

const roomStream = "/v1/spaces/room/stream"

// follow opens a stream, which lasts as long as the test at most.
func follow(t *testing.T, client *harness.Client, path string) *harness.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := client.Stream(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	return stream
}

func mustPage(t *testing.T, stream *harness.Stream) harness.Page {
	t.Helper()
	page, err := stream.Page()
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// TestStream_throughNginx: with nginx as it comes, each event arrives when it
// happens, a page of any size arrives whole, and an end on either side reaches
// the other.
func TestStream_throughNginx(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	token := harness.Token(harness.Claims{"spaces": harness.Claims{"room": "rw"}})
	direct, client := server.Client(token), server.ClientThroughNginx(token)

	stream := follow(t, client, roomStream)
	if got := stream.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding: %s", got)
	}
	mustPage(t, stream)
	for i := range 20 { // the next is pushed only when the last has been seen
		version := mustPush(t, direct, "room", put(fmt.Sprint("e", i), fmt.Sprint("d", i), 0, `{}`)).Version
		if page := mustPage(t, stream); len(page.Changes) != 1 || page.Version != version {
			t.Fatalf("edit %d: the stream brings %+v, want version %d", i, page, version)
		}
	}
	large := `{"a":"` + strings.Repeat("x", 250_000) + `"}`
	for i := range 8 {
		mustPush(t, direct, "room", put(fmt.Sprint("l", i), fmt.Sprint("l", i), 0, large))
		if page := mustPage(t, stream); string(page.Changes[0].Data) != large {
			t.Fatalf("a document of %d bytes came as one of %d", len(large), len(page.Changes[0].Data))
		}
	}

	// Streams that their clients leave are not counted for long.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for round := range 3 {
		var streams []*harness.Stream
		for len(streams) < 19 {
			next, err := client.Stream(ctx, roomStream, nil)
			if problem := (*harness.Problem)(nil); errors.As(err, &problem) && problem.Code == "too_many_streams" && round > 0 {
				continue // nginx has not told yet
			}
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, next)
		}
		for _, s := range streams {
			_ = s.Close()
		}
	}

	server.Stop()
	if event, err := stream.Next(); err != nil || event.Name != "bye" {
		t.Errorf("at the end came %+v, %v, want a bye", event, err)
	}
	if event, err := stream.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the bye came %+v, %v", event, err)
	}
}

// TestStream_neverMissesAnEdit: many streams, each of which is cut again and
// again and comes back with its id, see every document in its newest state.
func TestStream_neverMissesAnEdit(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store})
		const streams, documents = 10, 20
		edits := harness.Size(200, 5000)
		var following errgroup.Group
		for range streams {
			client := server.Client("")
			following.Go(func() error { return followUntil(t.Context(), client, edits, documents) })
		}
		client := server.Client("")
		for i := range edits {
			mustPush(t, client, "room", forced(fmt.Sprint("e", i), fmt.Sprint("d", i%documents), fmt.Sprintf(`{"n":%d}`, i)))
		}
		if err := following.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// followUntil follows until it holds the last edit of each document. It leaves
// each stream after a few pages.
func followUntil(ctx context.Context, client *harness.Client, edits, documents int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	held := make(map[string]string)
	var version int64
	var id string
	for complete := false; !complete; {
		stream, err := client.Stream(ctx, roomStream, http.Header{"Last-Event-Id": {id}})
		if err != nil {
			return err
		}
		for n := 0; n < 7 && !complete; n++ {
			event, err := stream.Next()
			if err != nil {
				return fmt.Errorf("holding %v: %w", held, err)
			}
			var page harness.Page
			if err := (harness.Answer{Status: http.StatusOK, Body: []byte(event.Data)}).Decode(&page); err != nil {
				return err
			}
			for _, c := range page.Changes {
				if c.Version <= version {
					return fmt.Errorf("version %d came after %d", c.Version, version)
				}
				version, held[c.ID] = c.Version, string(c.Data)
			}
			id = event.ID
			complete = !page.HasMore && holdsLast(held, edits, documents)
		}
		if err := stream.Close(); err != nil {
			return err
		}
	}
	return nil
}

func holdsLast(held map[string]string, edits, documents int) bool {
	for i := edits - documents; i < edits; i++ {
		if held[fmt.Sprint("d", i%documents)] != fmt.Sprintf(`{"n":%d}`, i) {
			return false
		}
	}
	return true
}
