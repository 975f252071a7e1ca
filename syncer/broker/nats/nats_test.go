package nats_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// natsServer is a NATS server in this process, which can be restarted on its port.
type natsServer struct {
	opts   server.Options
	server *server.Server
}

func startServer(t *testing.T, opts server.Options) *natsServer {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", -1, true, true
	s := &natsServer{opts: opts}
	if !s.start(t) {
		t.Fatal("the NATS server doesn't start")
	}
	_, port, _ := strings.Cut(s.server.Addr().String(), ":")
	s.opts.Port, _ = strconv.Atoi(port)
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start(t *testing.T) bool {
	t.Helper()
	opts := s.opts
	made, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.server = made
	made.Start()
	return made.ReadyForConnections(10 * time.Second)
}

func (s *natsServer) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *natsServer) restart(t *testing.T) {
	t.Helper()
	s.stop()
	s.awaitPort(t)
	if !s.start(t) {
		t.Fatal("the NATS server doesn't start again")
	}
}

// awaitPort waits until the port can be listened on: a connection that is not quite
// gone may hold it for a moment.
func (s *natsServer) awaitPort(t *testing.T) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port)))
		if err == nil {
			l.Close()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

func (s *natsServer) url() string {
	return "nats://" + net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port))
}

func open(t *testing.T, url string) *nats.Broker {
	t.Helper()
	b, err := nats.New(t.Context(), url, nats.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(t *testing.T) brokertest.Ends {
		s := startServer(t, server.Options{})
		return brokertest.Ends{A: open(t, s.url()), B: open(t, s.url()), Break: s.restart}
	})
}

// listen runs b; what it hears comes out of the channel.
func listen(t *testing.T, b *nats.Broker) <-chan syncer.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan syncer.Message, 16), make(chan error, 1)
	go func() { done <- b.Run(ctx, func(m syncer.Message) { heard <- m }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return heard
}

// While no server is there the broker takes pokes; when it comes they arrive.
func TestBroker_serverAway(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	s.stop()
	b := open(t, s.url())
	heard := listen(t, b)
	if err := b.Publish(t.Context(), syncer.Message{Space: "home", Version: 1}); err != nil {
		t.Errorf("publish while the server is away: %v", err)
	}
	s.restart(t)
	if m := brokertest.Next(heard); m.Space != "home" {
		t.Errorf("heard %v", m)
	}
}

// A deployment hears its own subject only, and what others publish there by hand.
func TestBroker_subjects(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{Username: "tidemark", Password: "hush"})
	url := strings.Replace(s.url(), "nats://", "nats://tidemark:hush@", 1)
	ours, theirs := open(t, url+"/staging.tidemark"), open(t, url)
	heard := listen(t, ours)
	<-heard
	conn, err := client.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := theirs.Publish(t.Context(), syncer.Message{Space: "theirs", Version: 1}); err != nil {
		t.Error(err)
	}
	for _, text := range []string{``, `hello`, `{"space":"a b"}`, `{"space":"home"}`} {
		if err := conn.Publish("staging.tidemark", []byte(text)); err != nil {
			t.Error(err)
		}
	}
	if m := brokertest.Next(heard); m.Space != "home" || m.Version != 0 {
		t.Errorf("heard %v", m)
	}
}

// A wrong password is a server that is away: it may be put right there.
func TestBroker_wrongPassword(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{Username: "tidemark", Password: "hush"})
	b := open(t, strings.Replace(s.url(), "nats://", "nats://tidemark:old@", 1))
	heard := listen(t, b)
	s.opts.Password = "old"
	s.restart(t)
	<-heard
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"nats://localhost", "nats://localhost:4222", "nats://u:p@localhost:4222/", "nats://token@h/tidemark",
		"nats://h/a.b_c-d", "nats://a:1,nats://b:2", "nats://u:p@a:1, nats://u:p@b:2/subject", "nats://[::1]:4222",
	} {
		if err := nats.CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "nats://", "nats:///x", "http://h", "h:4222", "nats://h:hush", "nats://u:hush%zz@h", "nats://h/a.*", "nats://h/a.>",
		"nats://h/a/b", "nats://h/a..b", "nats://h/a b", "nats://a,,nats://b", "nats://h?x=hush",
	} {
		b, err := nats.New(t.Context(), bad, nats.Options{})
		if err == nil {
			b.Close()
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: a secret is printed: %v", bad, err)
		}
	}
}
