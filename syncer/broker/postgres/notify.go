package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// sendTimeout bounds a batch, from connecting to the answer.
const sendTimeout = 10 * time.Second

// notify sends a batch in one statement and so in one transaction. What is equal
// within it is delivered once.
const notify = `
SELECT pg_notify('tidemark', m)
FROM unnest($1::text[]) AS m`

// maxPayload is the largest text that NOTIFY takes.
const maxPayload = 7999

// lines puts messages together, one a line, as far as one notification carries
// them: a notification costs more than what is in it. An encoded message has no
// line ends.
func lines(batch [][]byte) []string {
	var payloads []string
	var b strings.Builder
	for _, text := range batch {
		if b.Len() > 0 && b.Len()+1+len(text) > maxPayload {
			payloads = append(payloads, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.Write(text)
	}
	return append(payloads, b.String())
}

// notifier is the mailbox.Sender of one connection.
type notifier struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil: none yet, or the last one broke
}

// Send implements mailbox.Sender.
func (n *notifier) Send(ctx context.Context, batch [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if n.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, n.config)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		n.conn = conn
	}
	if _, err := n.conn.Exec(ctx, notify, lines(batch)); err != nil {
		n.Close(ctx)
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Close implements mailbox.Sender.
func (n *notifier) Close(ctx context.Context) {
	if n.conn != nil {
		HangUp(ctx, n.conn.PgConn())
		n.conn = nil
	}
}
