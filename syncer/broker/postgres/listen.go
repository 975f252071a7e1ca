package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
)

const (
	// quiet is how long a listener hears nothing before it asks whether the server
	// is still there: a connection that died without a word (a machine gone, a
	// firewall that forgot it) looks like one on which nothing happens.
	quiet = 15 * time.Second
	// answer bounds the wait for an answer of the server.
	answer = 5 * time.Second
)

// listener puts what the database notifies into a mailbox.
type listener struct {
	config *pgx.ConnConfig
	log    *slog.Logger
	in     *mailbox.Box
	quiet  time.Duration // as the constant; tests are less patient
}

// listen listens on one connection until that breaks or ctx ends. It calls begun
// when it begins to hear.
func (l *listener) listen(ctx context.Context, begun func()) error {
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer HangUp(ctx, conn.PgConn())
	if err := begin(ctx, conn); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	begun()
	// What was sent before was not heard.
	l.in.Put(syncer.Message{})
	for {
		notification, err := next(ctx, conn, l.quiet)
		if err != nil {
			return err
		}
		if notification == nil {
			continue // quiet, but there
		}
		l.hear(ctx, notification.Payload)
	}
}

// hear takes the messages out of a notification: one a line.
func (l *listener) hear(ctx context.Context, payload string) {
	for line := range strings.SplitSeq(payload, "\n") {
		if m, err := syncer.ParseMessage([]byte(line)); err != nil {
			l.log.WarnContext(ctx, "broker heard what is no message", "error", err)
		} else {
			l.in.Put(m)
		}
	}
}

func begin(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	_, err := conn.Exec(ctx, "LISTEN tidemark")
	return err
}

// next returns the next notification; nil if it is quiet and the server answers.
func next(ctx context.Context, conn *pgx.Conn, quiet time.Duration) (*pgconn.Notification, error) {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	if err == nil || ctx.Err() != nil || waiting.Err() == nil {
		return notification, err
	}
	asking, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	if err := conn.Ping(asking); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return nil, nil
}
