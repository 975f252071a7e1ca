package measure

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Machine describes where figures were measured.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	System string `json:"system"` // and its kernel
	Go     string `json:"go"`
	Load   string `json:"load_before"` // the load averages before the bench
}

// ThisMachine describes this machine, as far as its system tells.
func ThisMachine() Machine {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if model := member("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	} else if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		m.CPU = strings.TrimSpace(string(out))
	}
	if kilobytes, err := strconv.ParseInt(strings.TrimSuffix(member("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kilobytes << 10
	}
	if out, err := exec.Command("uname", "-sr").Output(); err == nil {
		m.System = strings.TrimSpace(string(out)) + " " + runtime.GOARCH
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	return m
}

// Busy reports whether something else was running before the bench.
func (m Machine) Busy() bool {
	first, _, _ := strings.Cut(m.Load, " ")
	load, err := strconv.ParseFloat(first, 64)
	return err == nil && load > 0.5
}

// member returns the value of the first line "name : value" of a file.
func member(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
