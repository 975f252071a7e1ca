// Package guard stands between a bug in a goroutine and the end of the process.
// Every goroutine begins behind it, so that a panic costs what it struck and nothing
// else, and is counted and told of, with its stack, once.
//
// It puts nothing right. Whoever has a state that a panic may leave half changed lets
// go of it by a deferred call of its own: nothing in memory is truth here, so there is
// always something to fall back on.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

var panics atomic.Int64

// Panics is how many panics this process has caught.
func Panics() int64 { return panics.Load() }

// A Panic is a bug that was caught, as an error.
type Panic struct {
	value any
	stack []byte
}

// Error says what the panic said, and where unless that has been told.
func (p *Panic) Error() string {
	if p.stack == nil {
		return fmt.Sprintf("panic: %v", p.value)
	}
	return fmt.Sprintf("panic: %v\n%s", p.value, p.stack)
}

// Told returns p without its stack, for those who hear of it after the log has.
func (p *Panic) Told() *Panic { return &Panic{value: p.value} }

// Is reports whether err is, or wraps, a Panic.
func Is(err error) bool { return errors.As(err, new(*Panic)) }

// Caught counts what recover has returned, which is not nil, and makes an error of it.
// It is called by the deferred function that recovers, or the stack would be another.
func Caught(value any) *Panic {
	panics.Add(1)
	return &Panic{value, debug.Stack()}
}

// Call returns what do returns; if that panics, the Panic.
func Call(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = Caught(r)
		}
	}()
	return do()
}

// Do does something once, and reports whether it came to its end. What goes on in it
// is called name in the log.
func Do(ctx context.Context, log *slog.Logger, name string, do func()) (ended bool) {
	err := Call(func() error { do(); return nil })
	if err != nil {
		tell(ctx, log, name, err)
	}
	return err == nil
}

// The pauses of Keep, after a panic and after many.
const (
	shortest = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// Keep does something that is to go on until ctx ends. After a panic it is begun anew,
// when a pause has passed that grows with each panic; so it must be able to begin in
// the middle of things. Keep returns when do does.
func Keep(ctx context.Context, log *slog.Logger, name string, do func(context.Context) error) error {
	for pause := shortest; ; pause = min(2*pause, longest) {
		began := time.Now()
		err := Call(func() error { return do(ctx) })
		if !Is(err) {
			return err
		}
		tell(ctx, log, name, err)
		if time.Since(began) > 2*longest {
			pause = shortest // that was another time
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func tell(ctx context.Context, log *slog.Logger, name string, err error) {
	log.ErrorContext(ctx, "caught a bug", "in", name, "error", err)
}
