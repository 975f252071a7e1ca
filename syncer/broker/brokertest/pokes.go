package brokertest

import (
	"testing"

	"github.com/tidemark/tidemark/syncer"
)

func everyRunHears(t *testing.T, ends Ends) {
	own, other, third := listen(t, ends.A, nil), listen(t, ends.B, nil), listen(t, ends.B, nil)
	p := syncer.Message{Space: "s1", Version: 7}
	own.waitFor(t, ends.A, p)
	other.waitFor(t, ends.A, p)
	third.waitFor(t, ends.A, p)
}

func severalSpaces(t *testing.T, ends Ends) {
	l := listen(t, ends.B, nil)
	for _, space := range []string{"s1", "s2", "a.b_c-d"} {
		l.waitFor(t, ends.A, syncer.Message{Space: space, Version: 1<<53 - 1})
	}
}

func newestArrives(t *testing.T, ends Ends) {
	l := listen(t, ends.B, nil)
	for v := range int64(100) {
		publish(t, ends.A, syncer.Message{Space: "s1", Version: v + 1})
	}
	l.await(t, func(m syncer.Message) bool { return m.Space == "s1" && m.Version == 100 })
}

// While a deliver runs, what comes for one space becomes one poke, or a few.
func burstIsMerged(t *testing.T, ends Ends) {
	const pokes = 500
	entered, release := make(chan struct{}), make(chan struct{})
	first, delivered := true, 0
	l := listen(t, ends.B, func(syncer.Message) {
		delivered++
		if first {
			first = false
			close(entered)
			<-release
		}
	})
	publish(t, ends.A, syncer.Message{Space: "s1", Version: 1})
	await(t, entered)
	for v := range int64(pokes) {
		publish(t, ends.A, syncer.Message{Space: "s1", Version: v + 2})
	}
	// By a message that is heard elsewhere all of them have arrived.
	other := listen(t, ends.B, nil)
	other.waitFor(t, ends.A, syncer.Message{Space: "s2", Version: 1})
	close(release)
	l.await(t, func(m syncer.Message) bool { return m.Space == "s1" && m.Version == pokes+1 })
	l.end(t)
	if delivered > pokes/2 {
		t.Errorf("%d pokes of one space were delivered as %d", pokes+1, delivered)
	}
}

func nobodyRuns(t *testing.T, ends Ends) {
	for i := range int64(100) {
		publish(t, ends.A, syncer.Message{Space: "s1", Version: i + 1})
	}
	listen(t, ends.B, nil).waitFor(t, ends.A, syncer.Message{Space: "s1", Version: 101})
}
