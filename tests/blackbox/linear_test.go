package blackbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/harness"
)

// TestCluster_documentsAreLinearizable lets clients of all nodes compare-and-set
// a few documents, breaks off requests and kills nodes, and then looks for an
// order of all operations that explains every answer.
//
// A single document is also read, on any node: a plain REST client has nothing
// with which to say what it knows of, so it is never shown an old state.
func TestCluster_documentsAreLinearizable(t *testing.T) {
	t.Parallel()
	const clients = 16
	seed := harness.Seed(t)
	tally := harness.Count(t, "T4", seed)
	steps := harness.Size(2000, 220_000) / clients // of what is gone a read is not counted
	cluster := harness.StartCluster(t, harness.ClusterOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), raceTimeout)
	defer cancel()
	log := &history{began: time.Now()}
	working, workCtx := errgroup.WithContext(ctx)
	for i := range clients {
		c := &setter{
			log: log, number: i, client: cluster.Client(""),
			random: harness.Random(seed, fmt.Sprint("setter ", i)), known: map[string]register{},
		}
		working.Go(func() error { return c.work(workCtx, steps) })
	}
	disturbing, stopDisturbing := disturbUntilStopped(ctx, func(ctx context.Context) error {
		return killNodes(ctx, cluster, log, clients*steps/4, harness.Random(seed, "kills"), tally)
	})
	err := working.Wait()
	stopDisturbing()
	if err := errors.Join(err, <-disturbing); err != nil {
		t.Fatal(err)
	}
	history := log.closed(t)
	tally.Add(harness.Figures{Operations: int64(len(history)), Faults: log.brokenOff.Load()})
	if !linearizable(t, history) {
		tally.Add(harness.Figures{Lost: 1})
	}
}

// killNodes kills a node each time so many operations more have ended.
func killNodes(ctx context.Context, cluster *harness.Cluster, log *history, every int, random *rand.Rand, tally *harness.Tally) error {
	for at := every; log.await(ctx, at); at += every {
		node := cluster.Node(random.IntN(cluster.Len()))
		node.Kill()
		tally.Add(harness.Figures{Kills: 1})
		node.Restart() //nolint:contextcheck // it bounds its own start
	}
	return nil
}

// history is what the clients did and were told.
type history struct {
	began     time.Time
	brokenOff atomic.Int64 // requests, by the client

	mu         sync.Mutex
	operations []porcupine.Operation
	open       []int // those that never ended
	grown      chan struct{}
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if out, _ := op.Output.(outcome); out.Status == "" {
		h.open = append(h.open, len(h.operations))
	}
	h.operations = append(h.operations, op)
	if h.grown != nil {
		close(h.grown)
		h.grown = nil
	}
}

// await waits until there are n operations. It returns false if ctx ends before.
func (h *history) await(ctx context.Context, n int) bool {
	for {
		h.mu.Lock()
		if len(h.operations) >= n {
			h.mu.Unlock()
			return true
		}
		if h.grown == nil {
			h.grown = make(chan struct{})
		}
		grown := h.grown
		h.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		}
	}
}

// closed returns the history, in which what never ended lasts to its end.
func (h *history) closed(t *testing.T) []porcupine.Operation {
	t.Helper()
	end := h.now()
	for _, i := range h.open {
		h.operations[i].Return = end
	}
	met := map[string]int{}
	for _, op := range h.operations {
		out, _ := op.Output.(outcome)
		met[out.Status]++
	}
	t.Logf("%d operations: %d applied, %d conflicts, %d reads, %d without an answer",
		len(h.operations), met["applied"], met["conflict"], met["read"], met[""])
	if len(met) != 4 {
		t.Error("one of these was never met: the history proves little")
	}
	return h.operations
}

// setter is a client that sets documents it may have an old picture of.
type setter struct {
	client *harness.Client
	log    *history
	number int
	random *rand.Rand
	known  map[string]register // what it last heard of each document
	lives  int                 // how often it has lost track of its own edits
}

func (c *setter) work(ctx context.Context, steps int) error {
	for n := range steps {
		// All clients are at about the same few documents at a time: many
		// operations of one document are hard to order, few never meet.
		op := operation{
			Document: fmt.Sprintf("d%d", n/15*3+c.random.IntN(3)),
			Op:       []string{"put", "put", "put", "patch", "delete", "read"}[c.random.IntN(6)],
		}
		op.Base = c.known[op.Document]
		began := c.log.now()
		out, happened, err := c.do(ctx, &op, n)
		if err != nil {
			return fmt.Errorf("client %d, step %d, %+v: %w", c.number, n, op, err)
		}
		if happened {
			c.log.add(porcupine.Operation{ClientId: c.number, Input: op, Call: began, Output: out, Return: c.log.now()})
		}
	}
	return nil
}

// do carries out an operation. happened is false if the server said that it was
// not carried out.
func (c *setter) do(ctx context.Context, op *operation, n int) (out outcome, happened bool, err error) {
	if op.Op == "read" {
		return c.read(ctx, op)
	}
	push := c.push(op, n)
	for sure := true; ; {
		answer, err := c.send(ctx, push)
		if err == nil {
			out, err := c.take(op, answer)
			return out, true, err
		}
		if ctx.Err() != nil {
			return out, false, ctx.Err()
		}
		if !mayRetry(err) {
			return out, false, err
		}
		sure = sure && refused(err)
		if c.random.IntN(2) == 0 {
			continue // again, on another node; the operation is still the same one
		}
		if !sure {
			c.lives++ // an open edit is no longer the newest that its client knows of
		}
		return out, !sure, nil
	}
}

// refused reports whether the server said that nothing was changed.
func refused(err error) bool {
	var problem *harness.Problem
	return errors.As(err, &problem) && problem.Code != "outcome_unknown"
}

func (c *setter) push(op *operation, n int) harness.Push {
	client, id := fmt.Sprintf("c%d-%d", c.number, c.lives), fmt.Sprintf("e%d", n)
	op.Edit = client + "/" + id
	edit := harness.Edit{
		EditID: id, Op: op.Op, Collection: "c", ID: op.Document, BaseVersion: harness.At(op.Base.Version),
		Data: []byte(fmt.Sprintf(`{"edit":%q}`, op.Edit)),
	}
	if op.Op == "delete" {
		edit.Data = nil
	}
	return harness.Push{ClientID: client, Edits: []harness.Edit{edit}}
}

// send sends the push to the next node. Some requests are broken off while
// they are under way, at a moment that nobody chooses.
func (c *setter) send(ctx context.Context, push harness.Push) (harness.PushAnswer, error) {
	if c.random.IntN(30) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.random.IntN(30))*time.Millisecond)
		defer cancel()
		c.log.brokenOff.Add(1)
	}
	return c.client.Push(ctx, "registers", push)
}

// take reads the answer to a push and remembers what it says of the document.
func (c *setter) take(op *operation, answer harness.PushAnswer) (outcome, error) {
	result := answer.Results[0]
	out := outcome{Status: result.Status, Version: result.Version}
	switch result.Status {
	case "applied":
		c.known[op.Document] = register{Edit: op.Edit, Version: result.Version}
		if op.Op == "delete" {
			// Whether it made the tombstone or found one, the answer doesn't tell.
			delete(c.known, op.Document)
		}
	case "conflict":
		out.Version = 0
		if result.Current != nil {
			out.Current = stateOf(*result.Current)
		}
		c.known[op.Document] = out.Current
	default:
		return out, fmt.Errorf("the edit is %+v", result)
	}
	return out, nil
}

func stateOf(change harness.Change) register {
	return register{Edit: change.ClientID + "/" + change.EditID, Version: change.Version, Deleted: change.Deleted}
}

// read reads the document. One that is gone shows nothing, so only a live one
// goes into the history.
func (c *setter) read(ctx context.Context, op *operation) (outcome, bool, error) {
	var change harness.Change
	answer, err := c.client.Do(ctx, http.MethodGet, "/v1/spaces/registers/documents/c/"+op.Document, nil, nil)
	if err == nil {
		err = answer.Decode(&change)
	}
	switch {
	case err == nil:
		c.known[op.Document] = stateOf(change)
		return outcome{Status: "read", Current: stateOf(change)}, true, nil
	case answer.Status == http.StatusNotFound || mayRetry(err):
		return outcome{}, false, ctx.Err()
	default:
		return outcome{}, false, err
	}
}
