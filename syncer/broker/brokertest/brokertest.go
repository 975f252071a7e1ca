// Package brokertest holds what every syncer.Broker must do, as tests.
package brokertest

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/syncer"
)

// patience bounds every wait; a broker that needs it has failed.
const patience = 20 * time.Second

// Ends are two ends of one new broker: what one publishes, both hear. They may be
// the same value.
type Ends struct {
	A, B syncer.Broker
	// Break cuts all connections of both ends once. What it cuts them from goes on,
	// or starts again. nil: there are none.
	Break func(t *testing.T)
}

// Run holds a broker against its contract. open returns Ends of a new one each
// time, and cleans up after itself through t.
func Run(t *testing.T, open func(t *testing.T) Ends) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Ends){
		"every run hears a poke, also its publisher":        everyRunHears,
		"pokes of several spaces all arrive":                severalSpaces,
		"the newest version of a space arrives":             newestArrives,
		"a burst of pokes is merged":                        burstIsMerged,
		"presence arrives as it was said":                   presenceArrives,
		"presence keeps its order":                          presenceInOrder,
		"a message of the largest size arrives":             largestArrives,
		"a message that is too large is refused":            tooLargeIsRefused,
		"one message is delivered at a time":                oneAtATime,
		"publish doesn't wait for a deliver that hangs":     publishDoesNotWait,
		"publish succeeds while nobody runs":                nobodyRuns,
		"run ends with its context, after the last deliver": runEnds,
		"a run that ended hears nothing more":               endedHearsNothing,
		"a run begins with a poke of no space":              beginsWithPoke,
		"a lost connection is told and made again":          comesBack,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}
