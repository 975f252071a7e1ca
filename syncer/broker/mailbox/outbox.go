package mailbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/retry"
	"github.com/tidemark/tidemark/syncer/guard"
)

const (
	// between is the least time from one batch to the next. A lone message goes out
	// at once; what a burst brings meanwhile is merged.
	between = 5 * time.Millisecond
	// lastSend bounds how long Close waits for what is left.
	lastSend = time.Second
)

// Sender is the network side of an Outbox. Its methods are called by one
// goroutine, never at the same time.
type Sender interface {
	// Send sends a batch of encoded messages, in order. It returns when the network
	// has taken them, or an error; then it connects again with the next call. It
	// bounds its waits by itself, and ends when ctx does.
	Send(ctx context.Context, batch [][]byte) error
	// Close ends what Send left open. It is called once, after the last Send, when
	// ctx may have ended.
	Close(ctx context.Context)
}

// Outbox sends messages in batches from a goroutine of its own.
//
// While the network is away, pokes stay in it, merged. News of presence does not:
// late news would show people who have gone.
type Outbox struct {
	box    *Box
	sender Sender
	log    *slog.Logger
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

// NewOutbox starts an Outbox. Whoever calls it calls Close; the end of ctx doesn't
// end it, because what is published while a server drains must still go out.
func NewOutbox(ctx context.Context, sender Sender, log *slog.Logger) *Outbox {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &Outbox{box: New(), sender: sender, log: log, stop: stop}
	o.ended.Go(func() { guard.Do(ctx, log, "the end of an outbox", func() { o.run(ctx) }) })
	return o
}

// Publish is what a Broker's Publish needs to be. Error: m can't be encoded.
func (o *Outbox) Publish(_ context.Context, m syncer.Message) error {
	if !m.IsPoke() { // a poke is always small
		if _, err := m.Encode(); err != nil {
			return err
		}
	}
	o.box.Put(m)
	return nil
}

// Close sends what is left, for at most a second, and ends the goroutine.
func (o *Outbox) Close() {
	o.stop()
	o.ended.Wait()
}

// run sends until ctx ends. A batch over which something panics is lost, which pokes
// and news of presence may be.
func (o *Outbox) run(ctx context.Context) {
	defer o.sender.Close(ctx)
	_ = guard.Keep(ctx, o.log, "an outbox", func(ctx context.Context) error {
		o.sendAll(ctx)
		return nil
	})
	o.flush(ctx)
}

func (o *Outbox) sendAll(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-o.box.Ready():
		}
		batch := o.box.Take()
		if err := o.send(ctx, batch); err != nil {
			o.putBack(batch)
			if failures == 0 && ctx.Err() == nil {
				o.log.WarnContext(ctx, "broker can't send", "error", err)
			}
			retry.Wait(ctx, retry.After(failures))
			failures++
			continue
		}
		if failures > 0 {
			o.log.InfoContext(ctx, "broker sends again")
		}
		failures = 0
		retry.Wait(ctx, between)
	}
}

// flush is the last attempt, when ctx has ended.
func (o *Outbox) flush(ctx context.Context) {
	batch := o.box.Take()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSend)
	defer cancel()
	if err := o.send(ctx, batch); err != nil {
		o.log.WarnContext(ctx, "broker ends with messages unsent", "messages", len(batch), "error", err)
	}
}

func (o *Outbox) send(ctx context.Context, batch []syncer.Message) error {
	encoded := make([][]byte, 0, len(batch))
	for _, m := range batch {
		if text, err := m.Encode(); err == nil { // what can't be was refused by Publish
			encoded = append(encoded, text)
		}
	}
	if len(encoded) == 0 {
		return nil
	}
	return o.sender.Send(ctx, encoded)
}

func (o *Outbox) putBack(batch []syncer.Message) {
	for _, m := range batch {
		if m.IsPoke() {
			o.box.Put(m)
		}
	}
}
