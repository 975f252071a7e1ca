//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ownAsFolder gives what root has made to whom the folder belongs. Commands are often run
// as root, and the server as a user that could not write to root's files. SQLite does the
// same with the files that it puts beside a database.
func ownAsFolder(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	file, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	of, ok := folder.Sys().(*syscall.Stat_t)
	is, also := file.Sys().(*syscall.Stat_t)
	if !ok || !also || is.Uid != 0 || of.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(of.Uid), int(of.Gid))
}
