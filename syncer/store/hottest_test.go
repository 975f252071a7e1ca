package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// TestHottest: of the spaces with the newest heads those first in which most has changed,
// without the server's own.
func TestHottest(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]string{"sqlite": sqliteURL(t), "postgres": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrate(t, database)
			if _, err := openSQL(t, database).ExecContext(t.Context(), `
				INSERT INTO spaces (id, head, epoch, live_count, created_at)
				VALUES ('old', 1000000, 1, 5, 0), ('busy', 8000000, 1, 2, 0), ('_canary', 9999999, 1, 1, 0), ('newest', 9000000, 1, 7, 0);
				INSERT INTO documents (space_id, collection, id, version, data, client_id, edit_id, updated_by, updated_at)
				VALUES ('busy', 'c', 'd1', 8000000, '{}', '', '', '', 0), ('busy', 'c', 'd2', 7000000, '{}', '', '', '', 0),
				       ('newest', 'c', 'd1', 9000000, '{}', '', '', '', 0), ('newest', 'c', 'd2', 5000000, '{}', '', '', '', 0)`); err != nil {
				t.Fatal(err)
			}
			got, err := open(t, database, store.Options{}).Hottest(t.Context(), time.Unix(5, 0), 2)
			if err != nil {
				t.Fatal(err)
			}
			want := []store.HotSpace{{"busy", 8000000, 2, 2}, {"newest", 9000000, 7, 1}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
