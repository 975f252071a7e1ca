//go:build unix

package blackbox_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/harness"
)

// An operator works as root on the folder of a server that runs as somebody else: whatever
// a command makes there, the server can write to.
func TestCommands_ownFilesAsFolder(t *testing.T) {
	t.Parallel()
	server := filled(t, harness.SQLite)
	backup, export := filepath.Join(t.TempDir(), "b.db"), filepath.Join(t.TempDir(), "e.ndjson")
	must(t, server, "backup", backup)
	must(t, server, "export", "--output", export)

	for name, commands := range map[string][][]string{
		"import":  {{"import", export}, {"verify"}, {"restore", backup}, {"verify"}},
		"restore": {{"restore", backup}, {"import", export}},
		"migrate": {{"migrate", "up"}, {"stats"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			target := harness.New(t, harness.Options{DatabaseURL: "sqlite:" + filepath.Join(folder, "tidemark.db")})
			if os.Geteuid() == 0 {
				const nobody = 65534
				if err := os.Chown(folder, nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			for _, command := range commands {
				must(t, target, command...)
				ownedAs(t, folder, command)
			}
		})
	}
}

func ownedAs(t *testing.T, folder string, after []string) {
	t.Helper()
	want, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		t.Fatalf("there are %d files, %v", len(entries), err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := info.Sys().(*syscall.Stat_t).Uid, want.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("after %v %s belongs to %d, the folder to %d", after, entry.Name(), got, want)
		}
	}
}
