package syncer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/models"
)

// chores is a Store of spaces to purge and to verify.
type chores struct {
	*modelStore
	spaces []string
	purge  func(space string) (Purged, error)

	purged []string // in the order they were
	due    []time.Time
	looks  int // for any space
	rows   int // spaces verified
}

func (c *chores) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Spaces returns two at most, so that a pass has several pages.
func (c *chores) Spaces(_ context.Context, after string, _ int) ([]models.Space, error) {
	var list []models.Space
	for _, name := range c.spaces {
		if name > after && len(list) < 2 {
			list = append(list, models.Space{ID: name})
		}
	}
	return list, nil
}

func (c *chores) Purge(_ context.Context, space string, before time.Time, _ int) (Purged, error) {
	c.purged = append(c.purged, space)
	c.due = append(c.due, before)
	return c.purge(space)
}

// AnySpace returns a space that is too large to be verified so every fourth time.
func (c *chores) AnySpace(context.Context, float64) (models.Space, error) {
	c.looks++
	if c.looks%4 == 0 {
		return models.Space{ID: "large", LiveCount: verifyDocuments + 1}, nil
	}
	return models.Space{ID: "s", LiveCount: verifyDocuments}, nil
}

// Rows is of a space that is faulty every third time.
func (c *chores) Rows(_ context.Context, space string, to RowReader) error {
	c.rows++
	row := models.Space{ID: space, PastEpochs: "[]"}
	if c.rows%3 == 0 {
		row.Digest = 1
	}
	to.Space(&row)
	return nil
}

// A node that runs purges every hour and verifies a space every minute.
func TestEngine_chores(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		store := &chores{modelStore: newModelStore(), spaces: []string{"a"}}
		store.purge = func(string) (Purged, error) { return Purged{}, nil }
		engine := New(store, &deaf{}, Options{Retention: 48 * time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		began := time.Now()
		go func() { done <- engine.Run(ctx) }()
		<-time.After(10*time.Hour + time.Second)
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		last := began
		for i, before := range store.due {
			at := before.Add(48 * time.Hour)
			if pause := at.Sub(last); pause > 66*time.Minute || i > 0 && pause < time.Hour {
				t.Errorf("purge %d came %v after the one before", i, pause)
			}
			last = at
		}
		if n := len(store.due); n < 9 || n > 10 {
			t.Errorf("purged %d times in ten hours", n)
		}
		if spaces, faulty := engine.Verified(); store.looks != 600 || store.rows != 450 || spaces != 450 || faulty != 150 {
			t.Errorf("%d looks and %d verifications in ten hours, %d and %d faulty are counted; want 600, 450, 450 and 150", store.looks, store.rows, spaces, faulty)
		}
		if n := strings.Count(log.String(), "a space is not as it should be"); n != 150 {
			t.Errorf("told of %d faulty spaces", n)
		}
	})
}

// A space that can't be purged now is left for the next time, unless it seems that none
// can.
func TestPurge_failures(t *testing.T) {
	t.Parallel()
	locked, broken := models.Errorf(models.CodeUnavailable, "locked"), errors.New("broken")
	for name, test := range map[string]struct {
		failures  map[string]error
		elsewhere string
		purged    string
		err       error
	}{
		"none":                      {purged: "abcdefg"},
		"one is locked":             {failures: map[string]error{"b": locked}, purged: "abcdefg"},
		"two and two":               {failures: map[string]error{"a": locked, "b": locked, "d": locked, "e": locked}, purged: "abcdefg"},
		"three one after the other": {failures: map[string]error{"c": locked, "d": locked, "e": locked}, purged: "abcde", err: locked},
		"something else is wrong":   {failures: map[string]error{"b": broken}, purged: "ab", err: broken},
		"another node is at it":     {elsewhere: "c", purged: "abc"},
	} {
		store := &chores{modelStore: newModelStore(), spaces: strings.Split("abcdefg", "")}
		store.purge = func(space string) (Purged, error) {
			return Purged{Elsewhere: space == test.elsewhere}, test.failures[space]
		}
		elsewhere, err := New(store, &deaf{}, Options{}).Purge(t.Context(), func(space string, done Purged) {
			t.Errorf("%s: told of %s, where nothing was purged: %+v", name, space, done)
		})
		if got := strings.Join(store.purged, ""); got != test.purged || !errors.Is(err, test.err) || elsewhere != (test.elsewhere != "") {
			t.Errorf("%s: purged %s, elsewhere %t, %v; want %s, %v", name, got, elsewhere, err, test.purged, test.err)
		}
	}
}

// What was purged of a space before it could not be locked any more is told all the same.
func TestPurge_partOfASpace(t *testing.T) {
	t.Parallel()
	store := &chores{modelStore: newModelStore(), spaces: []string{"a", "b"}}
	store.purge = func(space string) (Purged, error) {
		if space == "a" && len(store.purged) == 2 {
			return Purged{}, models.Errorf(models.CodeUnavailable, "locked")
		}
		return Purged{Tombstones: 5, More: space == "a"}, nil
	}
	told := map[string]Purged{}
	if _, err := New(store, &deaf{}, Options{}).Purge(t.Context(), func(space string, done Purged) { told[space] = done }); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told["a"].Tombstones != 5 || told["b"].Tombstones != 5 {
		t.Errorf("told %+v", told)
	}
}

// One space is purged in as many transactions as it takes, and told of once.
func TestPurge_untilNothingIsLeft(t *testing.T) {
	t.Parallel()
	store := &chores{modelStore: newModelStore(), spaces: []string{"a", "b"}}
	left := map[string]int{"a": 12, "b": 3}
	store.purge = func(space string) (Purged, error) {
		n := min(left[space], 5)
		left[space] -= n
		return Purged{Tombstones: n, Clients: 1, More: n == 5}, nil
	}
	told := map[string]Purged{}
	if _, err := New(store, &deaf{}, Options{}).Purge(t.Context(), func(space string, done Purged) { told[space] = done }); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told["a"] != (Purged{Tombstones: 12, Clients: 3}) || told["b"] != (Purged{Tombstones: 3, Clients: 1}) {
		t.Errorf("told %+v", told)
	}
}
