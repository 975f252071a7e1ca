package logical

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/mailbox"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
)

// askEvery is how often the server is told how far we have read, and asked to
// answer. PostgreSQL ends a connection that says nothing for wal_sender_timeout (60 s).
const askEvery = 10 * time.Second

// stream puts pokes for what is written into a mailbox.
type stream struct {
	broker *Broker
	in     *mailbox.Box
	slot   string        // "": a temporary one
	ask    time.Duration // as the constant; tests are less patient
}

// listen reads one connection until that breaks or ctx ends. It calls begun when it
// begins to hear.
func (s *stream) listen(ctx context.Context, begun func()) error {
	conn, err := s.broker.connect(ctx)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn)
	slot, err := s.findSlot(ctx, conn)
	if err != nil {
		return err
	}
	err = pglogrepl.StartReplication(ctx, conn, slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + publication + "'"},
	})
	if err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	begun()
	// What was written before the slot was made is not in it.
	s.in.Put(syncer.Message{})
	r := reader{conn: conn, rows: rows{put: s.in.Put}}
	return r.run(ctx, s.ask)
}

// findSlot returns the name of a slot that exists. A slot is made without a bound
// on the wait, but for ctx: PostgreSQL waits for transactions of others meanwhile.
func (s *stream) findSlot(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	if s.slot == "" {
		// Not to be guessed, so not to be met: slots are the whole server's.
		name := "tidemark_" + strings.ToLower(rand.Text())
		return name, makeSlot(ctx, conn, name, true)
	}
	found, err := column(ctx, conn, "SELECT slot_name FROM pg_replication_slots WHERE slot_name = '"+s.slot+"'")
	if err != nil {
		return "", fmt.Errorf("find the replication slot: %w", err)
	}
	if len(found) > 0 {
		return s.slot, nil
	}
	return s.slot, makeSlot(ctx, conn, s.slot, false)
}

func makeSlot(ctx context.Context, conn *pgconn.PgConn, name string, temporary bool) error {
	_, err := pglogrepl.CreateReplicationSlot(ctx, conn, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary:      temporary,
		SnapshotAction: "NOEXPORT_SNAPSHOT",
	})
	if err != nil {
		return fmt.Errorf("make a replication slot: %w", err)
	}
	return nil
}

// reader reads a connection on which replication has started.
type reader struct {
	conn *pgconn.PgConn
	rows rows
	read pglogrepl.LSN // as far as we have come
}

// run reads until the connection breaks, nothing is heard in spite of asking, or
// ctx ends.
func (r *reader) run(ctx context.Context, ask time.Duration) error {
	heard, asked := time.Now(), time.Now()
	for {
		message, err := r.receive(ctx, asked.Add(ask))
		switch {
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		case message != nil:
			heard = time.Now()
			if err := r.take(ctx, message); err != nil {
				return err
			}
		case time.Since(heard) > ask+answer:
			return errors.New("the server doesn't answer")
		}
		if time.Since(asked) >= ask {
			if err := r.report(ctx, true); err != nil {
				return err
			}
			asked = time.Now()
		}
	}
}

// receive returns the next message, nil if none came by then.
func (r *reader) receive(ctx context.Context, until time.Time) (pgproto3.BackendMessage, error) {
	waiting, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if waiting.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	message, err := r.conn.ReceiveMessage(waiting)
	if err != nil && ctx.Err() == nil && pgconn.Timeout(err) {
		return nil, nil
	}
	return message, err
}

// report tells the server how far we have read: before that it keeps no WAL for us.
func (r *reader) report(ctx context.Context, wantAnswer bool) error {
	err := pglogrepl.SendStandbyStatusUpdate(ctx, r.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: r.read,
		ReplyRequested:   wantAnswer,
	})
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (r *reader) take(ctx context.Context, message pgproto3.BackendMessage) error {
	switch message := message.(type) {
	case *pgproto3.ErrorResponse:
		return pgconn.ErrorResponseToPgError(message)
	case *pgproto3.CopyDone:
		return errors.New("the server has ended replication")
	case *pgproto3.CopyData:
		if len(message.Data) == 0 {
			return errors.New("an empty replication message")
		}
		return r.takeData(ctx, message.Data[0], message.Data[1:])
	}
	return nil // a notice, a parameter
}

func (r *reader) takeData(ctx context.Context, kind byte, data []byte) error {
	switch kind {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data)
		if err != nil {
			return err
		}
		r.read = max(r.read, alive.ServerWALEnd)
		if alive.ReplyRequested {
			return r.report(ctx, false)
		}
	case pglogrepl.XLogDataByteID:
		wal, err := pglogrepl.ParseXLogData(data)
		if err != nil {
			return err
		}
		if len(wal.WALData) == 0 {
			return errors.New("an empty replication message")
		}
		end, err := r.rows.take(wal.WALData)
		if err != nil {
			return err
		}
		r.read = max(r.read, end)
	}
	return nil
}
