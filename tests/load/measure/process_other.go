//go:build !linux

package measure

import (
	"errors"
	"time"
)

// errNotHere: the system has no /proc, so there are no figures of processes.
var errNotHere = errors.New("processor time and memory of other processes are read on Linux only")

// Memory is what a process holds and has held at most, in bytes.
type Memory struct{ Resident, Peak int64 }

// CPU fails: it is read on Linux only.
func CPU(int) (time.Duration, error) { return 0, errNotHere }

// CPUTree fails: it is read on Linux only.
func CPUTree(int) (time.Duration, error) { return 0, errNotHere }

// MemoryOf fails: it is read on Linux only.
func MemoryOf(int) (Memory, error) { return Memory{}, errNotHere }
