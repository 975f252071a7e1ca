package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/models"
)

// looked reports whether a collector has been told to look since it was asked last.
func looked(c *collector) bool {
	select {
	case <-c.wake:
		return true
	default:
		return false
	}
}

func TestCollector_pokes(t *testing.T) {
	t.Parallel()
	e := New(nil, nil, Options{})
	for _, test := range []struct {
		message Message
		want    bool
	}{
		{Message{Space: "home"}, true}, // by hand, of a space that nobody follows
		{Message{}, true},              // the broker was out of touch
		{Message{Space: "home", Version: 7}, false},
		{Message{Space: "home", Presence: json.RawMessage(`{}`)}, false},
	} {
		e.deliver(test.message)
		if got := looked(e.collector); got != test.want {
			t.Errorf("%+v: told to look: %t, want %t", test.message, got, test.want)
		}
	}
}

// What comes of a run decides how the next one goes.
func TestCollector_end(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	soon := now.Add(refreshEvery / 2)
	c := New(nil, nil, Options{Now: func() time.Time { return now }}).collector
	rows := make([]models.Inbox, 100)
	for i := range rows {
		rows[i] = models.Inbox{InboxID: int64(1 + i), Space: "home"}
	}
	broken := errors.New("broken")
	for i, step := range []struct {
		rows, done int
		err        error
		want       *inboxSpace // nil: as if nothing had been
		look       bool
		quiet      bool
	}{
		{rows: 100, done: 100, look: true},
		{rows: 100, done: 0, quiet: true},
		{rows: 100, err: models.Errorf(models.CodeSpaceBusy, "busy"), want: &inboxSpace{limit: 200, until: soon, waits: true}},
		{rows: 100, err: fmt.Errorf("commit: %w", models.Errorf(models.CodeUnavailable, "away")), want: &inboxSpace{limit: 200, until: soon, waits: true}},
		{rows: 100, err: broken, want: &inboxSpace{limit: 50, until: now, waits: true}},
		{rows: 50, err: models.Errorf(models.CodeOutcomeUnknown, "?"), want: &inboxSpace{limit: 50, until: soon, waits: true}},
		{rows: 50, done: 50, look: true, want: &inboxSpace{limit: 100, until: now}},
		{rows: 3, err: broken, want: &inboxSpace{limit: 1, until: now}},
		{rows: 1, err: broken, want: &inboxSpace{limit: 1, row: 1, tries: 1, until: now.Add(time.Second)}},
		{rows: 1, err: broken, want: &inboxSpace{limit: 1, row: 1, tries: 2, until: now.Add(2 * time.Second)}},
		{rows: 1, err: models.Errorf(models.CodeUnavailable, "away"), want: &inboxSpace{limit: 1, row: 1, tries: 2, until: soon, waits: true}},
		{rows: 1, done: 1, look: true, want: &inboxSpace{limit: 2, row: 1, until: now}},
	} {
		c.quiet.Store(false)
		if c.spaces["home"] == nil {
			c.spaces["home"] = &inboxSpace{limit: models.MaxEdits}
		}
		c.spaces["home"].busy = true
		c.end(t.Context(), rows[:step.rows], step.done, step.err)
		if diff := cmp.Diff(step.want, c.spaces["home"], cmp.AllowUnexported(inboxSpace{})); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		if got := looked(c); got != step.look || c.quiet.Load() != step.quiet {
			t.Errorf("step %d: looks again: %t, quiet: %t; want %t, %t", i, got, c.quiet.Load(), step.look, step.quiet)
		}
	}
}

// A panic over a row is the row's fault, not the end of the server.
func TestCollector_panic(t *testing.T) {
	t.Parallel()
	c := New(nil, nil, Options{Logger: slog.New(slog.DiscardHandler)}).collector // without a store, any use of it panics
	done, err := c.carry(t.Context(), []models.Inbox{{InboxID: 1, Space: "no space"}}, false)
	if done != 0 || err == nil || temporary(err) {
		t.Errorf("done %d, error %v", done, err)
	}
	done, err = c.carry(t.Context(), []models.Inbox{{InboxID: 1, Space: "home", Op: "delete", Collection: "c", ID: "d"}}, false)
	if done != 0 || err == nil || temporary(err) {
		t.Errorf("in the store: done %d, error %v", done, err)
	}
}

// A row that somebody has locked can't be rejected either. It stays, so to look again
// at once would find it again, without end.
func TestCollector_lockedRow(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	c := New(lockedInbox{}, nil, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).collector
	rows := []models.Inbox{{InboxID: 1, Space: "no space"}}
	c.start(t.Context(), rows)
	c.carrying.Wait()
	if looked(c) || !c.quiet.Load() || log.Len() > 0 {
		t.Errorf("quiet: %t, want it quiet; logged: %q, want nothing", c.quiet.Load(), log.String())
	}
}

// lockedInbox is a store whose inbox somebody has locked.
type lockedInbox struct{ Store }

func (lockedInbox) RejectInbox(context.Context, []int64, models.EditError) (int, error) {
	return 0, nil
}

// That a space stands still is logged when it begins, not at each tick.
func TestCollector_saysThatItWaits(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	store := &brokenInbox{}
	c := New(store, nil, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).collector
	rows := []models.Inbox{{InboxID: 1, Space: "home"}, {InboxID: 2, Space: "home"}}
	away := models.Errorf(models.CodeUnavailable, "away")
	end := func(done int, err error) {
		if c.spaces["home"] == nil {
			c.spaces["home"] = &inboxSpace{limit: 1}
		}
		c.end(t.Context(), rows, done, err)
	}
	for i, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"a space waits", func() { end(0, away) }, true},
		{"and waits", func() { end(0, away) }, false},
		{"is carried out", func() { end(2, nil) }, false},
		{"waits again", func() { end(0, away) }, true},
		{"the inbox can't be read", func() { store.err = away; c.collect(t.Context()) }, true},
		{"still not", func() { c.collect(t.Context()) }, false},
		{"is read", func() { store.err = nil; c.collect(t.Context()) }, false},
		{"can't be read again", func() { store.err = away; c.collect(t.Context()) }, true},
	} {
		log.Reset()
		step.do()
		if got := strings.Contains(log.String(), "level=WARN"); got != step.want {
			t.Errorf("step %d, %s: warned: %t, want %t", i, step.what, got, step.want)
		}
	}
	// Whoever stops a server is not to be warned of it.
	stopped, stop := context.WithCancel(t.Context())
	stop()
	store.err = stopped.Err()
	c.blind = false
	log.Reset()
	if c.collect(stopped); log.Len() > 0 {
		t.Errorf("at the end: %s", log.String())
	}
}

// brokenInbox is a store whose inbox has no rows, or can't be read.
type brokenInbox struct {
	Store
	err error
}

func (s *brokenInbox) Inbox(context.Context, InboxRange) ([]models.Inbox, error) { return nil, s.err }

func TestCollector_occupied(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	c := New(nil, nil, Options{Now: func() time.Time { return now }}).collector
	c.spaces = map[string]*inboxSpace{
		"busy":      {busy: true},
		"pausing":   {until: now.Add(time.Second)},
		"over":      {until: now},
		"forgotten": {until: now.Add(-2 * maxInboxPause)},
	}
	names, room := c.occupied()
	want := map[string]bool{"busy": true, "pausing": true}
	got := map[string]bool{}
	for _, name := range names {
		got[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || room != maxCollected-1 {
		t.Errorf("room for %d, occupied (-want +got):\n%s", room, diff)
	}
	if c.spaces["over"] == nil || c.spaces["forgotten"] != nil {
		t.Errorf("kept: %v", c.spaces)
	}
}
