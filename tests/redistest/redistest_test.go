package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/redistest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *redistest.Server{"redis-server": redistest.Start, "embedded": redistest.StartEmbedded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			opts, err := redis.ParseURL(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			opts.PoolSize, opts.MaxRetries = 1, 10
			client := redis.NewClient(opts)
			defer client.Close()
			for range 3 {
				if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
					t.Error(err)
				}
				server.Break(t)
			}
			opts.Password = "guess"
			stranger := redis.NewClient(opts)
			defer stranger.Close()
			if err := stranger.Ping(t.Context()).Err(); err == nil {
				t.Error("anybody may connect")
			}
		})
	}
}
