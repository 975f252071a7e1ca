package blackbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
)

// raceTimeout bounds a race of writers and followers.
var raceTimeout = harness.Size(8*time.Minute, time.Hour)

// TestFeed_followersSeeEveryVersion lets many writers loose on one space, with
// followers right behind them.
func TestFeed_followersSeeEveryVersion(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	harness.Each(t, func(t *testing.T, store harness.Store) {
		tally := harness.Count(t, "T5", seed)
		server := harness.Start(t, harness.Options{Store: store})
		race := feedRace{inbox: openSQL(t, server.DatabaseURL()), tally: tally}
		raceFeed(t, seed, race, func(int) *harness.Client { return server.Client("") })
	})
}

// TestFeed_followersSeeEveryVersionOnAllNodes is the same race on three nodes.
// Each writer and each follower has a node of its own or goes from one to the
// next with every request, and the nodes may hear each other by any broker or not
// at all: what a broker loses costs time only.
func TestFeed_followersSeeEveryVersionOnAllNodes(t *testing.T) {
	t.Parallel()
	seed := harness.Seed(t)
	tally := harness.Count(t, "T5", seed)
	eachLink(t, func(t *testing.T, cluster *harness.Cluster) {
		raceFeed(t, seed, feedRace{inbox: openSQL(t, cluster.DatabaseURL()), tally: tally}, spread(cluster))
	})
}

// spread gives every other client a node of its own, in turn, and lets the rest
// go round.
func spread(cluster *harness.Cluster) func(i int) *harness.Client {
	return func(i int) *harness.Client {
		if i%2 == 0 {
			return cluster.Client("")
		}
		return cluster.Node(i / 2).Client("")
	}
}

// feedRace is the size of a race and what happens during it. The zero value is the
// full size and a quiet race.
type feedRace struct {
	writers, followers, pushes int
	// inbox is where some more writers do the same by SQL; nil: there are none.
	inbox *sql.DB
	// disturb may do what it likes to the servers until its context ends, which is
	// when the writers have.
	disturb func(context.Context) error
	tally   *harness.Tally // may be nil
}

// raceFeed runs the race with client(i) for the i-th writer or follower. Each
// push writes both documents of a pair, so a follower that has caught up must
// hold two equal halves of every pair.
func raceFeed(t *testing.T, seed uint64, race feedRace, client func(i int) *harness.Client) {
	t.Helper()
	const pairs, inboxWriters = 40, 6
	if race.writers == 0 {
		race.writers, race.followers, race.pushes = 64, 8, harness.Size(6, 200)
	}
	ctx, cancel := context.WithTimeout(t.Context(), raceTimeout)
	defer cancel()
	seen := &acknowledged{}
	following, followCtx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	for f := range race.followers {
		follower := newFollower(client(f), "race", harness.Random(seed, fmt.Sprint("follower ", f)))
		following.Go(func() error { return follower.follow(followCtx, ended, seen) })
	}
	writing, writeCtx := errgroup.WithContext(followCtx) // a follower that fails ends the writers
	for w := range race.writers {
		client, random := client(w), harness.Random(seed, fmt.Sprint("writer ", w))
		writing.Go(func() error {
			for n := range race.pushes {
				push := pairPush(fmt.Sprintf("w%d", w), n, random.IntN(pairs))
				answer, _, err := pushUntilAnswered(writeCtx, client, "race", push)
				if err != nil {
					return fmt.Errorf("writer %d: %w", w, err)
				}
				seen.add(answer.Results)
			}
			return nil
		})
	}
	for w := range inboxWriters {
		if race.inbox == nil {
			break
		}
		name := fmt.Sprintf("i%d", w)
		writer := &inboxWriter{name: name, space: "race", db: race.inbox, client: client(w)}
		random := harness.Random(seed, "inbox "+name)
		// No two of them write to one pair, which would be a row that both must lock.
		pair := func() int { return random.IntN(pairs/inboxWriters)*inboxWriters + w }
		writing.Go(func() error { return writer.run(writeCtx, race.pushes, pair, seen) })
	}
	disturbing, stopDisturbing := disturbUntilStopped(ctx, race.disturb)
	wrote := writing.Wait()
	stopDisturbing()
	disturbed := <-disturbing
	close(ended)
	followed := following.Wait()
	race.tally.Add(harness.Figures{Operations: int64(len(seen.version))})
	if followed != nil {
		race.tally.Add(harness.Figures{Gaps: 1})
	}
	if err := errors.Join(followed, wrote, disturbed); err != nil {
		t.Fatal(err)
	}
}

// disturbUntilStopped runs disturb beside the caller; done gets what it returned.
func disturbUntilStopped(ctx context.Context, disturb func(context.Context) error) (done <-chan error, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		if disturb == nil {
			result <- nil
			return
		}
		result <- disturb(ctx)
	}()
	return result, stop
}

// pairPush writes one token into both halves of a pair, and a document that is
// the writer's alone.
func pairPush(writer string, n, pair int) harness.Push {
	token := fmt.Sprintf(`{"token":"%s-%d"}`, writer, n)
	return harness.Push{ClientID: writer, Atomic: n%2 == 0, Edits: []harness.Edit{
		forced(fmt.Sprintf("%d-left", n), fmt.Sprintf("left-%d", pair), token),
		forced(fmt.Sprintf("%d-own", n), fmt.Sprintf("own-%s-%d", writer, n), token),
		forced(fmt.Sprintf("%d-right", n), fmt.Sprintf("right-%d", pair), token),
	}}
}

// acknowledged collects the versions that the server has answered.
type acknowledged struct {
	mu      sync.Mutex
	version []int64
}

func (a *acknowledged) add(results []harness.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = append(a.version, results[0].Version)
}

// newest is the newest version of all.
func (a *acknowledged) newest() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.version) == 0 {
		return 0
	}
	return slices.Max(a.version)
}

// follower pulls with small limits and keeps what it is shown.
type follower struct {
	client   *harness.Client
	space    string
	random   *rand.Rand
	cursor   string
	at       map[string]harness.Change
	versions map[int64]int // how many documents came at a version
	last     int64
}

func newFollower(client *harness.Client, space string, random *rand.Rand) *follower {
	return &follower{
		client: client, space: space, random: random,
		at: map[string]harness.Change{}, versions: map[int64]int{},
	}
}

// follow pulls until the writers have ended and there is no more.
func (f *follower) follow(ctx context.Context, ended <-chan struct{}, seen *acknowledged) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		over := false
		select {
		case <-ended:
			over = true
		default:
		}
		pull := harness.Pull{Cursor: f.cursor, Limit: 1 + f.random.IntN(7), Wait: f.random.IntN(2)}
		if over {
			// Now it knows of what others have written, and so must whatever node it asks.
			pull.MinVersion = seen.newest()
		}
		page, err := f.client.Pull(ctx, f.space, pull)
		if err != nil && mayRetry(err) && ctx.Err() == nil {
			<-tick.C
			continue // a busy server may say so, or be away; the cursor is where it was
		}
		if err != nil {
			return fmt.Errorf("follower: %w", err)
		}
		if err := f.take(page); err != nil {
			return err
		}
		if !page.HasMore {
			if err := f.pairsAreWhole(); err != nil {
				return err
			}
			if over {
				return f.sawAll(seen)
			}
		}
	}
}

func (f *follower) take(page harness.Page) error {
	before := f.last
	for _, change := range page.Changes {
		if change.Version <= before {
			return fmt.Errorf("version %d comes after a page that went to %d: it was split or is out of order", change.Version, before)
		}
		if change.Version < f.last {
			return fmt.Errorf("version %d comes after %d", change.Version, f.last)
		}
		f.last = change.Version
		f.at[change.ID] = change
		f.versions[change.Version]++
	}
	if page.HasMore && page.Cursor == f.cursor {
		return fmt.Errorf("has_more did not advance the cursor")
	}
	if page.Version < f.last {
		return fmt.Errorf("a page of head %d shows version %d", page.Version, f.last)
	}
	f.cursor = page.Cursor
	return nil
}

// pairsAreWhole: shown at has_more false, no push is seen in part.
func (f *follower) pairsAreWhole() error {
	for id, left := range f.at {
		var pair int
		if _, err := fmt.Sscanf(id, "left-%d", &pair); err != nil {
			continue
		}
		right := f.at[fmt.Sprintf("right-%d", pair)]
		if right.Version != left.Version || string(right.Data) != string(left.Data) {
			return fmt.Errorf("pair %d is %s at %d and %s at %d", pair, left.Data, left.Version, right.Data, right.Version)
		}
	}
	return nil
}

// sawAll: every push also wrote a document that nobody wrote again, so a follower
// at the end has been shown something at every version there was.
func (f *follower) sawAll(seen *acknowledged) error {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, version := range seen.version {
		if f.versions[version] == 0 {
			return fmt.Errorf("version %d was acknowledged and never shown; %d versions were", version, len(f.versions))
		}
	}
	return nil
}
