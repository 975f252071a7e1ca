package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of /proc/PID/stat, the same on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

type stat struct {
	parent     int
	own, ended time.Duration // of the process, and of its children that have ended
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name, in brackets, may hold spaces and brackets.
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	fields := bytes.Fields(text[end+1:]) // from field 3 on
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	number := func(field int) int {
		n, _ := strconv.Atoi(string(fields[field-3])) // proc(5) counts from 1; the kernel writes numbers
		return n
	}
	return stat{
		parent: number(4),
		own:    time.Duration(number(14)+number(15)) * clockTick,
		ended:  time.Duration(number(16)+number(17)) * clockTick,
	}, nil
}

// CPU returns the processor time of a process.
func CPU(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	return s.own, err
}

// CPUTree returns the processor time of a process, its children, and those
// children that have ended.
func CPUTree(pid int) (time.Duration, error) {
	root, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	total := root.own + root.ended
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// A process that has ended meanwhile is no error; its parent counts it.
		if s, err := readStat(child); err == nil && s.parent == pid {
			total += s.own
		}
	}
	return total, nil
}

// Memory is what a process holds and has held at most, in bytes.
type Memory struct{ Resident, Peak int64 }

// MemoryOf reads the memory of a process.
func MemoryOf(pid int) (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			m.Resident = kilobytes << 10
		case "VmHWM:":
			m.Peak = kilobytes << 10
		}
	}
	if m.Peak == 0 {
		return Memory{}, errors.New("the process has ended")
	}
	return m, nil
}
