//go:build faults

package fault

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Enabled tells whether points do anything.
const Enabled = true

var left atomic.Int64

// armed is the point at which the process is to end, "" for none.
var armed = sync.OnceValue(func() string {
	name, count, counted := strings.Cut(os.Getenv(Variable), ":")
	n := int64(1)
	if counted {
		var err error
		if n, err = strconv.ParseInt(count, 10, 64); err != nil || n < 1 {
			panic(fmt.Sprintf("%s: %q is no count", Variable, count))
		}
	}
	if name != "" && !slices.Contains(Points, name) {
		panic(fmt.Sprintf("%s: there is no point %q", Variable, name))
	}
	left.Store(n)
	return name
})

// Point ends the process if this is where it is to end.
func Point(name string) {
	if name != armed() || left.Add(-1) != 0 {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill() // a signal is not at once
	}
	select {}
}
