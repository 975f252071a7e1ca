package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/dbproxy"
	"github.com/tidemark/tidemark/tests/harness"
)

// These tests are about the network between a node and its database: whatever it does,
// requests are answered in bounded time, by the truth or by "not now", and when it is
// well again so is the node, without a restart.

// bounded is how long a request may take with a database that doesn't answer: longer
// than it is told to wait anywhere, on a machine that is busy with tests.
const bounded = 30 * time.Second

// behindNetwork starts a server whose connections to its database go through a proxy.
func behindNetwork(t *testing.T) (*harness.Server, *dbproxy.Proxy) {
	t.Helper()
	database, network := dbproxy.Through(t, harness.DefaultBroker().Database(t))
	database = harness.WithSetting(t, database, "pool_max_conns", "4")
	return harness.Start(t, harness.Options{Store: harness.Postgres, DatabaseURL: database}), network
}

// TestNetwork_answerToCommitLost: the database has committed, and the connection ends
// before it says so. The node can't know, and says that; the retry finds out. So for
// each of those whose pushes were one transaction.
func TestNetwork_answerToCommitLost(t *testing.T) {
	t.Parallel()
	server, network := behindNetwork(t)
	for how, ending := range map[string]dbproxy.Ending{"reset": dbproxy.Reset, "silent": dbproxy.Silent} {
		for round := range harness.Rounds(t, 1, 20) {
			const clients = 6
			space := func(i int) string { return fmt.Sprintf("%s-%d-%d", how, round, i%3) }
			for i := range clients {
				mustPush(t, server.Client(""), space(i), put(fmt.Sprint("before", i), fmt.Sprint("before", i), 0, `{}`))
			}
			struck := network.OnCommit(ending)
			var pushing errgroup.Group
			unknown := make(chan harness.Problem, clients)
			for i := range clients {
				client := server.Client("")
				pushing.Go(func() error {
					ctx, cancel := context.WithTimeout(t.Context(), bounded)
					defer cancel()
					push := harness.Push{ClientID: fmt.Sprint("c", i), Edits: []harness.Edit{forced("e1", fmt.Sprint("d", i), `{"n":1}`)}}
					answer, err := client.Push(ctx, space(i), push)
					var problem *harness.Problem
					lost := errors.As(err, &problem) && problem.Code == "outcome_unknown" && problem.RetryAfter != ""
					if lost {
						unknown <- *problem
					}
					if err != nil && mayRetry(err) { // some may have waited behind it for too long
						answer, _, err = pushUntilAnswered(ctx, client, space(i), push)
					}
					if lost && err == nil && !answer.Results[0].Replayed {
						return fmt.Errorf("the retry of %d took effect once more: %+v", i, answer)
					}
					if err != nil || answer.Results[0].Status != "applied" {
						return fmt.Errorf("the push of %d: %+v, %w", i, answer, err)
					}
					return nil
				})
			}
			if err := pushing.Wait(); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			<-struck
			if len(unknown) == 0 {
				t.Errorf("%s: nobody was told that the outcome is unknown", how)
			}
			for i := range clients {
				found := pullAll(t, server.Client(""), space(i), 0)
				if len(found) != 4 || string(found[fmt.Sprint("d", i)].Data) != `{"n":1}` {
					t.Errorf("%s: the space holds %+v", how, found)
				}
			}
		}
	}
}

// TestNetwork_cutAtAnyByte resets the connection to the database after byte k of what
// goes one way, while a push is under way.
func TestNetwork_cutAtAnyByte(t *testing.T) {
	t.Parallel()
	server, network := behindNetwork(t)
	client := server.Client("")
	for name, way := range map[string]dbproxy.Direction{"to": dbproxy.ToDatabase, "from": dbproxy.FromDatabase} {
		cuts, missed := 0, 0
		for k := 0; k < 4<<10; k += harness.Size(97, 5) {
			space := fmt.Sprintf("%s-%d", name, k)
			before := mustPushSoon(t, client, space, put("before-1", "patched", 0, `{"a":1,"b":1}`), put("before-2", "deleted", 0, `{}`)).Version
			push := harness.Push{ClientID: "c1", Edits: []harness.Edit{
				put("e1", "created", 0, `{"title":"a document of some length, so that there is something to cut"}`),
				{EditID: "e2", Op: "patch", Collection: "c", ID: "patched", BaseVersion: harness.At(before), Data: []byte(`{"a":2}`)},
				{EditID: "e3", Op: "patch", Collection: "c", ID: "patched", BaseEditID: "e2", Data: []byte(`{"b":2}`)},
				{EditID: "e4", Op: "delete", Collection: "c", ID: "deleted", BaseVersion: harness.At(before)},
				forced("e5", "forced", `{"x":1}`),
			}}
			struck := network.CutAfter(way, k)
			answer, _, err := pushUntilAnswered(t.Context(), client, space, push)
			if err != nil {
				t.Fatalf("cut after %d bytes %s the database: %v", k, name, err)
			}
			wantApplied(t, answer)
			select {
			case <-struck:
				cuts++
			default: // the push was shorter than that
				missed++
			}
			network.Calm()
			wantOneEffect(t, client, space, before, answer.Results[0].Version)
			if missed > 5 {
				break // what else passes is the broker's
			}
		}
		if cuts < 5 {
			t.Errorf("only %d cuts %s the database", cuts, name)
		}
	}
}

// mustPushSoon is mustPush for a node that may not have got over the last cut.
func mustPushSoon(t *testing.T, client *harness.Client, space string, edits ...harness.Edit) harness.PushAnswer {
	t.Helper()
	answer, _, err := pushUntilAnswered(t.Context(), client, space, harness.Push{ClientID: "c1", Edits: edits})
	if err != nil {
		t.Fatal(err)
	}
	wantApplied(t, answer)
	return answer
}

// TestNetwork_away has the database go away in several ways, and come back.
func TestNetwork_away(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*dbproxy.Proxy) }{
		"reset and refused": {(*dbproxy.Proxy).Leave, (*dbproxy.Proxy).Return},
		"half-open":         {(*dbproxy.Proxy).Hold, (*dbproxy.Proxy).Release},
		// What was begun meanwhile is never answered, only what is new.
		"half-open, then forgotten": {(*dbproxy.Proxy).Hold, func(p *dbproxy.Proxy) {
			p.End(dbproxy.Silent)
			p.Release()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, network := behindNetwork(t)
			client := server.Client("")
			mustPush(t, client, "room", put("e1", "d1", 0, `{}`))
			page, err := client.Pull(t.Context(), "room", harness.Pull{})
			if err != nil {
				t.Fatal(err)
			}
			for n := range harness.Size(1, 10) {
				outage.begin(network)
				began := time.Now()
				wantAway(t, client, page.Cursor)
				outage.end(network)
				ended := time.Now()
				wantBack(t, client, fmt.Sprint("back", n))
				t.Logf("away for %v, back after %v", ended.Sub(began), time.Since(ended))
			}
		})
	}
}

// wantAway: alive, not ready, and whoever asks for something is told to come back.
func wantAway(t *testing.T, client *harness.Client, cursor string) {
	t.Helper()
	asks := map[string]func(ctx context.Context) error{
		"readyz": func(ctx context.Context) error { return status(ctx, client, "/readyz") },
		"a push": func(ctx context.Context) error {
			_, err := client.Push(ctx, "room", harness.Push{ClientID: "c1", Edits: []harness.Edit{forced("away", "away", `{}`)}})
			return err
		},
		"a new pull": func(ctx context.Context) error { _, err := client.Pull(ctx, "elsewhere", harness.Pull{}); return err },
		"an idle poll, when the lease is over": func(ctx context.Context) error {
			tick := time.NewTicker(retryEvery)
			defer tick.Stop()
			for {
				if _, err := client.Pull(ctx, "room", harness.Pull{Cursor: cursor}); err != nil {
					return err
				}
				<-tick.C
			}
		},
	}
	for i := range 8 { // more than there are connections
		asks[fmt.Sprint("a document of many, number ", i)] = func(ctx context.Context) error {
			for {
				if err := status(ctx, client, "/v1/spaces/room/documents/c/d1"); err != nil {
					return err
				}
			}
		}
	}
	var asking errgroup.Group
	for what, ask := range asks {
		asking.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), bounded)
			defer cancel()
			err := ask(ctx)
			var problem *harness.Problem
			if !errors.As(err, &problem) || problem.HTTPStatus != http.StatusServiceUnavailable || problem.RetryAfter == "" {
				return fmt.Errorf("%s, with the database away, ends with %w; want 503 and Retry-After", what, err)
			}
			return nil
		})
	}
	if err := status(t.Context(), client, "/healthz"); err != nil {
		t.Errorf("healthz, with the database away: %v", err)
	}
	if err := asking.Wait(); err != nil {
		t.Error(err)
	}
}

// wantBack: all works again, in bounded time and without a restart.
func wantBack(t *testing.T, client *harness.Client, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	push := harness.Push{ClientID: "c1", Edits: []harness.Edit{put(id, id, 0, `{}`)}}
	answer, tries, err := pushUntilAnswered(ctx, client, "room", push)
	if err != nil {
		t.Fatalf("a push with the database back, tried %d times: %v", tries, err)
	}
	wantApplied(t, answer)
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for err = status(ctx, client, "/readyz"); err != nil; err = status(ctx, client, "/readyz") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("readyz with the database back: %v", err)
		}
	}
	// One that began while the database was away may still be answered so.
	for {
		page, err := client.Pull(ctx, "room", harness.Pull{MinVersion: answer.Version})
		if err == nil {
			if page.Version < answer.Version {
				t.Errorf("after version %d a pull shows %d", answer.Version, page.Version)
			}
			return
		}
		if !mayRetry(err) || ctx.Err() != nil {
			t.Fatalf("a pull with the database back: %v", err)
		}
		<-tick.C
	}
}

func status(ctx context.Context, client *harness.Client, path string) error {
	answer, err := client.Do(ctx, http.MethodGet, path, nil, nil)
	if err == nil && answer.Status != http.StatusOK {
		err = answer.Problem()
	}
	return err
}

// TestNetwork_cutOffNodeSaysNothingStale: a node that can't reach the database can't
// know what another one has committed. So when its lease is over it says nothing.
func TestNetwork_cutOffNodeSaysNothingStale(t *testing.T) {
	t.Parallel()
	database := harness.WithSetting(t, harness.DefaultBroker().Database(t), "pool_max_conns", "4")
	through, network := dbproxy.Through(t, database)
	options := harness.Options{Store: harness.Postgres, Env: []string{"TIDEMARK_BROKER=memory"}}
	options.DatabaseURL = database
	healthy := harness.New(t, options)
	healthy.Restart()
	options.DatabaseURL = through
	cut := harness.New(t, options)
	cut.Restart()
	writer, reader := healthy.Client(""), cut.Client("")
	// What is said by a clock that began before the answer was there is within the
	// lease for sure only before, and after it for sure only after twice as long.
	const lease = time.Second
	for n := range harness.Size(2, 20) {
		mustPushSoon(t, writer, "room", put(fmt.Sprint("a", n), fmt.Sprint("a", n), 0, `{}`))
		page := pullSoon(t, reader, harness.Pull{})
		network.Hold()
		newest := mustPush(t, writer, "room", put(fmt.Sprint("b", n), fmt.Sprint("b", n), 0, `{}`)).Version
		committed := time.Now()
		for asked := time.Now(); ; asked = time.Now() {
			ctx, cancel := context.WithTimeout(t.Context(), bounded)
			shown, err := reader.Pull(ctx, "room", harness.Pull{Cursor: page.Cursor})
			cancel()
			if err != nil {
				break // not now
			}
			if late := asked.Sub(committed); shown.Version < newest && late > 2*lease {
				t.Fatalf("a poll that began %v after version %d shows %d", late, newest, shown.Version)
			}
		}
		network.Release()
		if shown := pullSoon(t, reader, harness.Pull{Cursor: page.Cursor, MinVersion: newest}); shown.Version != newest {
			t.Errorf("with the database back it shows version %d, want %d", shown.Version, newest)
		}
	}
}

// pullSoon pulls until there is an answer.
func pullSoon(t *testing.T, client *harness.Client, pull harness.Pull) harness.Page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		page, err := client.Pull(ctx, "room", pull)
		if err == nil {
			return page
		}
		if !mayRetry(err) || ctx.Err() != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
}
