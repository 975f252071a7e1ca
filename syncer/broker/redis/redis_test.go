package redis_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	client "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/brokertest"
	"github.com/tidemark/tidemark/syncer/broker/redis"
	"github.com/tidemark/tidemark/tests/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) *redis.Broker {
	t.Helper()
	b, err := redis.New(t.Context(), url, redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestBroker(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *redistest.Server{"redis-server": redistest.Start, "embedded": redistest.StartEmbedded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brokertest.Run(t, func(t *testing.T) brokertest.Ends {
				server := start(t)
				return brokertest.Ends{A: open(t, server.URL()), B: open(t, server.URL()), Break: server.Break}
			})
		})
	}
}

// listen runs b; what it hears comes out of the channel.
func listen(t *testing.T, b *redis.Broker) <-chan syncer.Message {
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

// Deployments under several numbers of a server don't hear each other, and each
// hears what others publish there by hand.
func TestBroker_databases(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	ours, theirs := open(t, strings.TrimSuffix(url, "/0")+"/1"), open(t, url)
	heard, heardByThem := listen(t, ours), listen(t, theirs)
	<-heard
	<-heardByThem
	if err := theirs.Publish(t.Context(), syncer.Message{Space: "theirs", Version: 1}); err != nil {
		t.Error(err)
	}
	if m := brokertest.Next(heardByThem); m.Space != "theirs" {
		t.Errorf("they heard %v", m)
	}
	opts, err := client.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	hand := client.NewClient(opts)
	defer hand.Close()
	for _, text := range []string{``, `hello`, `{"space":"a b"}`, `{"space":"home"}`} {
		if err := hand.Publish(t.Context(), "tidemark:1", text).Err(); err != nil {
			t.Error(err)
		}
	}
	if m := brokertest.Next(heard); m.Space != "home" || m.Version != 0 {
		t.Errorf("heard %v", m)
	}
}

// A broker whose server is away takes pokes, runs and ends.
func TestBroker_serverAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, address := range []string{"127.0.0.1:1", listener.Addr().String()} {
		b := open(t, "redis://"+address)
		listen(t, b)
		if err := b.Publish(t.Context(), syncer.Message{Space: "home", Version: 1}); err != nil {
			t.Errorf("publish while the server is away: %v", err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"redis://localhost", "redis://:p@localhost:6379", "rediss://u:p@h/3", "redis://[::1]:6379/0"} {
		if err := redis.CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "redis://", "redis:///1", "http://h", "h:6379", "redis://h:hush", "redis://u:hush%zz@h", "redis://h/x", "redis://h/-1", "redis://h/1/2", "redis://h?hush=1",
	} {
		b, err := redis.New(t.Context(), bad, redis.Options{})
		if err == nil {
			b.Close()
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: a secret is printed: %v", bad, err)
		}
	}
}
