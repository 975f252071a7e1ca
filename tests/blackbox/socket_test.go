package blackbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemark/tidemark/tests/harness"
)

// talk opens a socket to a space.
func talk(ctx context.Context, t *testing.T, client *http.Client, base, token, space string) (*websocket.Conn, error) {
	t.Helper()
	conn, _, err := websocket.Dial(ctx, base+"/v1/spaces/"+space+"/socket", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err == nil {
		conn.SetReadLimit(-1)
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, err
}

// pushFrame is a push of one edit.
func pushFrame(n int) []byte {
	return fmt.Appendf(nil, `{"push":{"client_id":"c1","edits":[{"edit_id":"e%d","op":"put","collection":"c","id":"d%d","base_version":0,"data":{}}]},"ref":"r%d"}`, n, n, n)
}

// answerTo reads until the frame of a ref is answered as applied.
func answerTo(ctx context.Context, conn *websocket.Conn, n int) error {
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var frame struct {
			Event, Ref string
			Data       struct {
				Results []struct{ Status string }
			}
		}
		switch err := json.Unmarshal(text, &frame); {
		case err != nil:
			return err
		case frame.Event == "pushed" && frame.Ref == fmt.Sprint("r", n) && frame.Data.Results[0].Status == "applied":
			return nil
		case frame.Event == "error":
			return errors.New(string(text))
		}
	}
}

// What is pushed on a socket through nginx is in the feed once, though the server ends
// and is killed while it comes: who got no answer retries.
func TestSocket_faults(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		token := harness.Token(harness.Claims{"spaces": harness.Claims{"home": "rw"}})
		const pushes = 300
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		done := make(chan error, 1)
		reached := make(chan int, pushes)
		go func() {
			done <- func() error {
				var conn *websocket.Conn
				for n := 0; n < pushes && ctx.Err() == nil; {
					var err error
					if conn == nil {
						if conn, err = talk(ctx, t, &http.Client{}, server.URL(), token, "home"); err != nil {
							conn = nil
							<-time.After(20 * time.Millisecond) // it is between two lives
							continue
						}
					}
					if err = conn.Write(ctx, websocket.MessageText, pushFrame(n)); err == nil {
						err = answerTo(ctx, conn, n)
					}
					if err != nil {
						_ = conn.CloseNow()
						conn = nil
						continue
					}
					n++
					reached <- n
				}
				return ctx.Err()
			}()
		}()
		for range pushes / 3 {
			<-reached
		}
		server.Stop()
		server.Restart()
		for range pushes / 3 {
			<-reached
		}
		server.Kill()
		server.Restart()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		changes, _, err := server.Client(token).PullAll(t.Context(), "home", harness.Pull{})
		if err != nil {
			t.Fatal(err)
		}
		versions := make(map[int64]bool)
		for _, c := range changes {
			versions[c.Version] = true
		}
		if len(changes) != pushes || len(versions) != pushes {
			t.Errorf("%d documents at %d versions, want %d", len(changes), len(versions), pushes)
		}
	})
}

// It passes nginx with the lines that deploy/README.md has for it.
func TestSocket_throughNginx(t *testing.T) {
	t.Parallel()
	harness.Each(t, func(t *testing.T, store harness.Store) {
		server := harness.Start(t, harness.Options{Store: store, Secret: harness.Secret})
		token := harness.Token(harness.Claims{"spaces": harness.Claims{"home": "rw"}})
		conn, err := talk(t.Context(), t, server.ClientThroughNginx(token).HTTP, "http://127.0.0.1", token, "home")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for n := range 20 {
			if err := conn.Write(ctx, websocket.MessageText, pushFrame(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := answerTo(ctx, conn, 19); err != nil {
			t.Fatal(err)
		}
	})
}
