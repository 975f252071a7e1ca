package wakeup

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark/tidemark/models"
)

// maxWaiting is how many spaces wait on a node: some megabytes.
const maxWaiting = 20_000

// idle is how long who has nothing to do sleeps unless it is woken.
const idle = time.Hour

// entry is a space that waits to be told of.
type entry struct {
	space     string
	version   int64
	since     time.Time // when it began to wait
	due       time.Time // not to be sent before
	attempts  int64
	lastError string

	// kept is the version that the Ledger has, until then: 0 is none.
	kept      int64
	keptUntil time.Time
}

// waiting is what waits, by space.
type waiting struct {
	mu      sync.Mutex
	entries map[string]entry
	closed  bool // nothing is taken any more
}

// add takes in a change, due at once. It reports false if there is no room.
func (w *waiting) add(space string, version int64, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	e, ok := w.entries[space]
	if !ok {
		if len(w.entries) >= maxWaiting {
			return false
		}
		e = entry{space: space, since: now, due: now}
	}
	e.version = max(e.version, version)
	w.entries[space] = e
	return true
}

// putBack takes in what was taken out, or comes from the Ledger. A newer version that
// has come meanwhile stays, and waits with it.
func (w *waiting) putBack(list []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range list {
		e.version = max(e.version, w.entries[e.space].version)
		w.entries[e.space] = e
	}
}

// next returns how long until something is due, at most idle.
func (w *waiting) next(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause := idle
	for _, e := range w.entries {
		pause = min(pause, e.due.Sub(now))
	}
	return pause
}

// take takes out up to limit spaces that are due, those first that have been so for
// longest.
func (w *waiting) take(now time.Time, limit int) (list []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if !e.due.After(now) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(a.due.Compare(b.due), strings.Compare(a.space, b.space)) })
	list = list[:min(len(list), limit)]
	for _, e := range list {
		delete(w.entries, e.space)
	}
	return list
}

// takeOld takes out what has waited since before a time.
func (w *waiting) takeOld(before time.Time) (list []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for space, e := range w.entries {
		if e.since.Before(before) {
			list = append(list, e)
			delete(w.entries, space)
		}
	}
	return list
}

// unkept returns what the Ledger does not have, or not for long any more, and notes that
// it has it until a time.
func (w *waiting) unkept(soon, until time.Time) (list []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for space, e := range w.entries {
		if e.kept < e.version || e.keptUntil.Before(soon) {
			e.kept, e.keptUntil = e.version, until
			w.entries[space] = e
			list = append(list, e)
		}
	}
	return list
}

// notKept takes back what unkept has noted.
func (w *waiting) notKept(list []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range list {
		if there, ok := w.entries[e.space]; ok {
			there.kept = 0
			w.entries[e.space] = there
		}
	}
}

// close takes out everything, and takes in nothing any more.
func (w *waiting) close() []entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Collect(maps.Values(w.entries))
	clear(w.entries)
	w.closed = true
	return list
}

// room is how many spaces more may wait.
func (w *waiting) room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maxWaiting - len(w.entries)
}

// figures returns how many wait, and since when the first does.
func (w *waiting) figures() (n int, oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if oldest.IsZero() || e.since.Before(oldest) {
			oldest = e.since
		}
	}
	return len(w.entries), oldest
}

// rows are entries as the Ledger has them, in an order in which two nodes can't wait for
// each other; due is nil for dead letters.
func rows(list []entry, due *time.Time) []models.Undelivered {
	all := make([]models.Undelivered, len(list))
	for i, e := range list {
		all[i] = models.Undelivered{
			Space: e.space, Version: e.version, Attempts: e.attempts, LastError: e.lastError, Since: e.since.UnixMilli(),
		}
		if due != nil {
			at := due.UnixMilli()
			all[i].DueAt = &at
		}
	}
	slices.SortFunc(all, func(a, b models.Undelivered) int { return strings.Compare(a.Space, b.Space) })
	return all
}
