package limits

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Serve is the bare server: it answers every request with two bytes, and it
// streams to all who listen what is posted to /publish. It prints where it
// listens, and ends with SIGTERM.
func Serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hub := &hub{listeners: map[chan []byte]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /stream", hub.stream)
	mux.HandleFunc("POST /publish", hub.publish)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("bare: listening on http://%s\n", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ended:
		return server.Close()
	}
}

// hub hands each frame to every stream.
type hub struct {
	mu        sync.Mutex
	listeners map[chan []byte]struct{}
}

// frames that may wait for one stream; more than any run publishes at once.
const waiting = 1024

func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	frame, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	for listener := range h.listeners {
		select {
		case listener <- frame:
		default: // shows as lost
		}
	}
	h.mu.Unlock()
	io.WriteString(w, "ok")
}

func (h *hub) stream(w http.ResponseWriter, r *http.Request) {
	frames := make(chan []byte, waiting)
	h.mu.Lock()
	h.listeners[frames] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.listeners, frames)
		h.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	controller := http.NewResponseController(w)
	for controller.Flush() == nil {
		select {
		case frame := <-frames:
			if _, err := w.Write(frame); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
