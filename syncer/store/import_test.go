package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
	"github.com/tidemark/tidemark/tests/pgtest"
)

// What a server has written to a space while it was imported is nobody's to delete: the
// import of the same export does not go on, and that of another does not begin anew.
func TestStartImport_writtenToMeanwhile(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]string{"sqlite": sqliteURL(t), "postgres": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrate(t, database)
			s := open(t, database, store.Options{})
			start := func(sum string) error {
				_, _, err := s.StartImport(t.Context(), &models.Space{ID: "s1", Head: 7}, []byte(sum))
				return err
			}
			if err := start("one"); err != nil {
				t.Fatal(err)
			}
			if err := write(context.WithoutCancel(t.Context()), s, "s1"); err != nil {
				t.Fatal(err)
			}
			for _, sum := range []string{"one", "another"} {
				if err := start(sum); err == nil || !strings.Contains(err.Error(), "written to while it was imported") {
					t.Errorf("the export %q: %v", sum, err)
				}
			}
		})
	}
}
