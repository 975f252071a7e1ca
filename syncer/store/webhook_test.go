package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer/store"
)

func due(n int64) *int64 { at := moment(n).UnixMilli(); return &at }

func keep(t *testing.T, s *store.Store, list ...models.Undelivered) {
	t.Helper()
	if err := s.KeepUndelivered(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// wantClaim claims at the n-th millisecond, for a hundred.
func wantClaim(t *testing.T, s *store.Store, n int64, want ...models.Undelivered) {
	t.Helper()
	got, err := s.ClaimUndelivered(t.Context(), moment(n), moment(n+100), 2)
	if err != nil {
		t.Fatal(err)
	}
	bySpace := cmpopts.SortSlices(func(a, b models.Undelivered) bool { return a.Space < b.Space })
	if diff := cmp.Diff(want, got, bySpace, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("claimed at %d (-want +got):\n%s", n, diff)
	}
}

func wantDead(t *testing.T, s *store.Store, want ...models.Undelivered) {
	t.Helper()
	got, err := s.DeadUndelivered(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("dead (-want +got):\n%s", diff)
	}
}

func TestUndelivered(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s *store.Store, _ string) {
		a := models.Undelivered{Space: "a", Version: 7, Attempts: 2, LastError: "500", Since: 5, DueAt: due(50)}
		b := models.Undelivered{Space: "b", Version: 8, Attempts: 1, LastError: "away", Since: 6, DueAt: due(10)}
		c := models.Undelivered{Space: "c", Version: 9, Attempts: 99, LastError: "500", Since: 1}
		keep(t, s, a, b, c)
		wantDead(t, s, c)
		wantClaim(t, s, 9)
		b.DueAt = due(110)
		wantClaim(t, s, 10, b)
		wantClaim(t, s, 10) // b is somebody's
		a.DueAt = due(150)
		wantClaim(t, s, 50, a)

		// Who dies leaves its rows to the next.
		a.DueAt, b.DueAt = due(250), due(250)
		wantClaim(t, s, 150, a, b)

		// An older version doesn't hide a newer one.
		old := models.Undelivered{Space: "a", Version: 3, Attempts: 4, LastError: "reset", Since: 2}
		keep(t, s, old)
		old.Version = 7
		wantDead(t, s, old, c)

		if n, err := s.RetryUndelivered(t.Context(), moment(300), []string{"c", "b", "x"}); n != 1 || err != nil {
			t.Errorf("%d are tried again, %v; want 1", n, err)
		}
		wantDead(t, s, old)
		c.DueAt, c.Attempts, c.Since = due(400), 0, moment(300).UnixMilli()
		b.DueAt = due(400)
		wantClaim(t, s, 300, b, c)
		if n, err := s.RetryUndelivered(t.Context(), moment(300), nil); n != 1 || err != nil {
			t.Errorf("%d are tried again, %v; want 1", n, err)
		}
		wantDead(t, s)

		told := []models.Head{{Space: "a", Version: 6}, {Space: "b", Version: 8}, {Space: "c", Version: 10}, {Space: "d", Version: 1}}
		if err := s.ForgetUndelivered(t.Context(), told); err != nil {
			t.Fatal(err)
		}
		a = models.Undelivered{Space: "a", Version: 7, LastError: "reset", Since: moment(300).UnixMilli(), DueAt: due(9100)}
		wantClaim(t, s, 9000, a) // of a newer version than was told
	})
}

// Many rows go in at once, and of many nodes that claim at once each row is one's.
func TestUndelivered_claimedOnce(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, s *store.Store, _ string) {
		const rows, nodes = 1200, 4
		list := make([]models.Undelivered, rows)
		for i := range list {
			list[i] = models.Undelivered{Space: "s" + time.UnixMilli(int64(i)).UTC().Format("05.000"), Version: 1, DueAt: due(0)}
		}
		keep(t, s, list...)
		var mu sync.Mutex
		times := make(map[string]int)
		var group sync.WaitGroup
		for range nodes {
			group.Go(func() {
				for range rows / 300 {
					got, err := s.ClaimUndelivered(t.Context(), moment(1), moment(1000), 300)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, u := range got {
						times[u.Space]++
					}
					mu.Unlock()
				}
			})
		}
		group.Wait()
		// What others have claimed meanwhile may come back as nothing, so ask once more.
		rest, err := s.ClaimUndelivered(t.Context(), moment(1), moment(1000), rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range rest {
			times[u.Space]++
		}
		for space, n := range times {
			if n != 1 {
				t.Errorf("%s was claimed %d times", space, n)
			}
		}
		if len(times) != rows {
			t.Errorf("%d of %d rows were claimed", len(times), rows)
		}
	})
}
