package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/tidemark/tidemark/syncer/store"
)

// A look that failed is not made again at every frame: the database has enough to do.
func TestHottest_failed(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "t.db")
	m, err := store.OpenMigrator(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	look := hottest(db)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, failed := look(gone, 1)
	if failed == nil {
		t.Fatal("a look that was canceled did not fail")
	}
	if _, err := look(t.Context(), 1); err != failed { //nolint:errorlint // the very same
		t.Errorf("the next frame has %v, want what the failed look said", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
