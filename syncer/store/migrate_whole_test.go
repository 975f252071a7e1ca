package store

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/google/go-cmp/cmp"
)

// notes is a Driver that writes down what it is asked for.
type notes struct {
	database.Driver
	calls []string
}

func (n *notes) SetVersion(version int, dirty bool) error {
	n.calls = append(n.calls, fmt.Sprintf("version %d dirty %t", version, dirty))
	return nil
}

func (n *notes) Run(file io.Reader) error {
	text, err := io.ReadAll(file)
	n.calls = append(n.calls, string(text))
	return err
}

// What can't have a transaction is marked before and after.
func TestWhole_concurrently(t *testing.T) {
	t.Parallel()
	const text = "CREATE INDEX CONCURRENTLY i ON t (a)"
	driver := &notes{}
	w := &whole{Driver: driver}
	if err := w.SetVersion(7, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.SetVersion(7, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"version 7 dirty true", text, "version 7 dirty false"}, driver.calls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
