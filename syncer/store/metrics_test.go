package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// told is what a store tells of itself: by name, and what the first label says.
func told(t *testing.T, s *store.Store) (values map[string]float64, info map[string]string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, info = map[string]float64{}, map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if name == "tidemark_database_info" {
					info[l.GetName()] = l.GetValue()
				} else {
					name += "/" + l.GetValue()
				}
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values, info
}

// Rows as both dialects take them.
const (
	twoTombstones = `
INSERT INTO documents (space_id, collection, id, version, deleted, data, client_id, edit_id, updated_by, updated_at)
VALUES
    ('s', 'c', 'a', 1, true, NULL, 'x', 'e', 'u', 0),
    ('s', 'c', 'b', 2, true, NULL, 'x', 'e', 'u', 0),
    ('s', 'c', 'c', 3, false, '{}', 'x', 'e', 'u', 0)`
	threeClients = `
INSERT INTO clients (space_id, subject, client_id, receipts, seen_at)
SELECT space_id, 'u', id, %s, 0
FROM documents`
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url     string
		empty   string // receipts of a client that has none
		analyze string // has the database make its estimates
		info    map[string]string
		limits  map[string]float64
	}{
		"sqlite": {
			sqliteURL(t), "x''", "SELECT 1",
			map[string]string{"database": "sqlite", "identity": "process", "synchronous": "full", "fsync": "", "synchronous_commit": ""},
			map[string]float64{"tidemark_pool_limit/writer": 1, "tidemark_pool_limit/reader": 8},
		},
		"postgres": {
			with(t, pgtest.URL(t), "pool_max_conns", "5", "synchronous_commit", "local"), "''", "ANALYZE",
			map[string]string{"database": "postgres", "identity": "postmaster", "fsync": "on", "synchronous_commit": "local", "synchronous": ""},
			map[string]float64{"tidemark_pool_limit/postgres": 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrate(t, test.url)
			s := open(t, test.url, store.Options{})
			db := openSQL(t, test.url)
			for _, statement := range []string{twoTombstones, fmt.Sprintf(threeClients, test.empty), test.analyze} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			ctx, end := context.WithCancel(t.Context())
			counted := make(chan error)
			go func() { counted <- s.Count(ctx, slog.New(slog.DiscardHandler)) }()
			values, info := told(t, s)
			for values["tidemark_rows/tombstones"] == 0 && t.Context().Err() == nil {
				values, info = told(t, s)
			}
			end()
			if err := <-counted; err != nil {
				t.Error(err)
			}
			want := map[string]float64{"tidemark_rows/tombstones": 2, "tidemark_rows/clients": 3, "tidemark_database_durable": 1}
			maps.Copy(want, test.limits)
			for name, value := range want {
				if got, there := values[name]; !there || got != value {
					t.Errorf("%s is %v, want %v", name, got, value)
				}
			}
			if diff := cmp.Diff(test.info, info); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
