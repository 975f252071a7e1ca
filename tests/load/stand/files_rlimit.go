//go:build linux || darwin

package stand

import (
	"fmt"
	"syscall"
)

// AllowFiles reports whether this process, and the servers that it starts, may
// have so many files open. (Go's runtime has raised the soft limit to the hard
// one already, in each of them.)
func AllowFiles(count uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Max < count {
		return fmt.Errorf("this needs %d open files, and the system allows %d (ulimit -Hn)", count, limit.Max)
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
