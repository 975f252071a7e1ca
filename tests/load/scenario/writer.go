package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/tests/load/limits"
	"github.com/tidemark/tidemark/tests/load/wire"
)

// stalePercent of all edits name a base that is no longer the version.
const stalePercent = 1

// writer is a client that pushes: half of its edits create a document, half
// replace one of its own whose version it knows.
type writer struct {
	conn  *wire.Conn
	push  *wire.Push
	known []known
	turn  int

	// Of the push in flight.
	updates []int    // which of known each update replaces
	creates []uint64 // ids
	fates   []wire.Fate

	conflicts, edits, refused int64
}

type known struct {
	id      uint64
	version int64
}

// newWriter connects client i of a deployment, for one space.
func (d *deployment) newWriter(ctx context.Context, i int, space string) (*writer, error) {
	token, err := d.token(i)
	if err != nil {
		return nil, err
	}
	conn, err := wire.Dial(ctx, d.target(i))
	if err != nil {
		return nil, err
	}
	return &writer{conn: conn, push: wire.NewPush(d.target(i), space, token, fmt.Sprintf("client-%d", i))}, nil
}

// writers connects count clients and has each create some documents. The
// clients write to the spaces in turn.
func (d *deployment) writers(ctx context.Context, count int, spaces []string, documents int) ([]*writer, error) {
	all := make([]*writer, count)
	setup, setupCtx := errgroup.WithContext(ctx)
	for i := range all {
		setup.Go(func() (err error) {
			// The connection is for the measurement too, so it has the longer life.
			if all[i], err = d.newWriter(ctx, i, spaces[i%len(spaces)]); err != nil {
				return err
			}
			return all[i].create(setupCtx, documents)
		})
	}
	return all, setup.Wait()
}

func closeAll(writers []*writer) {
	for _, w := range writers {
		if w != nil {
			w.conn.Close()
		}
	}
}

// create makes documents in pushes of 100.
func (w *writer) create(ctx context.Context, count int) error {
	for count > 0 && ctx.Err() == nil {
		batch := min(count, 100)
		w.push.Begin()
		w.updates, w.creates = w.updates[:0], w.creates[:0]
		for range batch {
			w.addCreate()
		}
		if applied, err := w.send(ctx); err != nil {
			return err
		} else if applied > 0 {
			count -= batch
		}
	}
	return ctx.Err()
}

// step returns the endless work of the writer.
func (w *writer) step(batch int) step {
	return func(ctx context.Context) (int, error) {
		w.push.Begin()
		w.updates, w.creates = w.updates[:0], w.creates[:0]
		at := rand.IntN(len(w.known))
		for i := range batch {
			if w.turn++; w.turn%2 == 0 {
				w.addUpdate((at + i) % len(w.known))
			}
		}
		for len(w.updates)+len(w.creates) < batch {
			w.addCreate()
		}
		return w.send(ctx)
	}
}

func (w *writer) addCreate() {
	id := limits.FirstID + rand.Uint64N(limits.LastID-limits.FirstID)
	w.creates = append(w.creates, id)
	w.push.Put(id, 0)
}

func (w *writer) addUpdate(i int) {
	base := w.known[i].version
	if rand.IntN(100) < 2*stalePercent { // half of all edits are updates
		base--
	}
	w.updates = append(w.updates, i)
	w.push.Put(w.known[i].id, base)
}

// send pushes and learns the versions. A push that is refused because there
// are too many counts as 0 edits; it is not repeated.
func (w *writer) send(ctx context.Context) (applied int, err error) {
	answer, err := w.conn.Do(ctx, w.push.Request())
	if err != nil {
		return 0, err
	}
	if answer.Status == 429 || answer.Status == 503 {
		w.refused++
		pause(ctx, 10*time.Millisecond)
		return 0, nil
	}
	if answer.Status != 200 {
		return 0, fmt.Errorf("a push was answered with %d: %.300s", answer.Status, answer.Body)
	}
	edits := len(w.updates) + len(w.creates)
	if w.fates, err = wire.ScanPush(answer.Body, w.fates[:0], edits); err != nil {
		return 0, err
	}
	for i, fate := range w.fates {
		switch {
		case !fate.Applied:
			w.conflicts++
		case i < len(w.updates):
			w.known[w.updates[i]].version = fate.Version
		default:
			w.known = append(w.known, known{w.creates[i-len(w.updates)], fate.Version})
		}
	}
	w.edits += int64(edits)
	return edits, nil
}
