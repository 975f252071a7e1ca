package blackbox_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidemark/tidemark/tests/harness"
)

var cpuSeconds = regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)$`)

// cpu is what the server's process has used.
func cpu(b *testing.B, client *harness.Client) float64 {
	b.Helper()
	answer, err := client.Do(b.Context(), http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	found := cpuSeconds.FindSubmatch(answer.Body)
	if found == nil {
		b.Fatal("no process_cpu_seconds_total")
	}
	seconds, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return seconds
}

// BenchmarkSocket is one client that sends single edits, each when the one before was
// answered, over HTTP with a kept connection and a stream beside it, and over a socket:
// edits a second, and what of the server's CPU each costs.
//
//	go test ./tests/blackbox -run '^$' -bench Socket -benchtime 3000x
func BenchmarkSocket(b *testing.B) {
	for _, store := range harness.Stores {
		server := harness.Start(b, harness.Options{Store: store})
		client := server.Client("")
		edit := func(n int) string {
			return fmt.Sprintf(`{"client_id":"c1","edits":[{"edit_id":"e%d-%d","op":"put","collection":"c","id":"cursor","force":true,"data":{"x":%d}}]}`, b.N, n, n)
		}
		measure := func(name string, push func(b *testing.B, n int)) {
			b.Run(string(store)+"/"+name, func(b *testing.B) {
				before := cpu(b, client)
				b.ResetTimer()
				for n := range b.N {
					push(b, n)
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "edits/s")
				b.ReportMetric((cpu(b, client)-before)/float64(b.N)*1e6, "server-µs/edit")
			})
		}
		stream, err := client.Stream(b.Context(), "/v1/spaces/http/stream", nil)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				if _, err := stream.Next(); err != nil {
					return
				}
			}
		}()
		measure("http", func(b *testing.B, n int) {
			res, err := client.HTTP.Post(server.URL()+"/v1/spaces/http/push", "application/json", bytes.NewReader([]byte(edit(n))))
			if err != nil || res.StatusCode != http.StatusOK {
				b.Fatal(res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		})
		_ = stream.Close()
		conn, _, err := websocket.Dial(b.Context(), server.URL()+"/v1/spaces/socket/socket", nil)
		if err != nil {
			b.Fatal(err)
		}
		measure("socket", func(b *testing.B, n int) {
			if err := conn.Write(b.Context(), websocket.MessageText, []byte(`{"push":`+edit(n)+`,"ref":"r`+strconv.Itoa(n)+`"}`)); err != nil {
				b.Fatal(err)
			}
			if err := answerTo(b.Context(), conn, n); err != nil {
				b.Fatal(err)
			}
		})
		_ = conn.CloseNow()
	}
}
