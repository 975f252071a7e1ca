package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The metrics are there before the database answers, and gone when serve has ended.
func TestServe_metricsBeforeTheDatabase(t *testing.T) {
	var listen net.ListenConfig
	silent, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan struct{})
	t.Setenv("TIDEMARK_DATABASE_URL", "postgres://nobody@"+silent.Addr().String()+"/none?sslmode=disable")
	t.Setenv("TIDEMARK_METRICS_LISTEN", "127.0.0.1:0")
	read, write := io.Pipe()
	code := make(chan int)
	go func() {
		code <- run([]string{"serve", "--listen", "127.0.0.1:0"}, io.Discard, write)
		_ = write.Close()
	}()
	url, log := "", make([]byte, 4096)
	for said := ""; url == ""; {
		n, err := read.Read(log)
		if err != nil {
			t.Fatalf("serve has ended and said only %q", said)
		}
		said += string(log[:n])
		if found := regexp.MustCompile(`url=(\S+)\n`).FindStringSubmatch(said); found != nil {
			url = found[1]
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, read) // whatever else it says
		close(dropped)
	}()
	if status, text := metricsAt(t, url); status != http.StatusOK || !strings.Contains(text, "\ngo_goroutines ") {
		t.Errorf("while the database says nothing, the metrics answer %d:\n%s", status, text)
	}
	if err := silent.Close(); err != nil {
		t.Error(err)
	}
	if got := <-code; got != exitFailure {
		t.Errorf("serve without a database ends with %d", got)
	}
	<-dropped
	if status, _ := metricsAt(t, url); status != 0 {
		t.Errorf("after the end the metrics answer %d", status)
	}
}

// metricsAt asks for metrics; the status is 0 if nobody is there.
func metricsAt(t *testing.T, url string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
