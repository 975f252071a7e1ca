package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/fault"
)

// sqliteWriter is the one connection that writes, with its statements prepared: one
// per row, because SQLite runs in this process and has no round trips to save.
type sqliteWriter struct {
	db  *sql.DB
	now func() time.Time
	// identity is that of Locked. It is made when the database is opened, which only one
	// process at a time does to write.
	identity int64

	readSpace, readClient, readDocument, readInboxRow *sql.Stmt
	writeSpace, writeDocument, writeClient            *sql.Stmt
	rejectInboxRow, deleteInboxRow                    *sql.Stmt
}

func (w *sqliteWriter) prepare(ctx context.Context) error {
	for _, statement := range []struct {
		into **sql.Stmt
		text string
	}{
		{&w.readSpace, sqliteReadSpace},
		{&w.readClient, sqliteReadClient},
		{&w.readDocument, sqliteReadDocument},
		{&w.writeSpace, sqliteWriteSpace},
		{&w.writeDocument, sqliteWriteDocument},
		{&w.writeClient, sqliteWriteClient},
		{&w.readInboxRow, sqliteReadInbox},
		{&w.rejectInboxRow, sqliteRejectInbox},
		{&w.deleteInboxRow, sqliteDeleteInbox},
	} {
		var err error
		if *statement.into, err = w.db.PrepareContext(ctx, statement.text); err != nil {
			return err
		}
	}
	return nil
}

// All of them find their row by primary key.
const (
	sqliteReadSpace = `
SELECT id, head, floor, epoch, past_epochs, digest, live_count, created_at, retention_ms, deleted_through
FROM spaces
WHERE id = ?`

	sqliteReadClient = `
SELECT receipts, CASE WHEN older_tag <> ?4 THEN older_receipts END, older_tag
FROM clients
WHERE space_id = ?1
  AND subject = ?2
  AND client_id = ?3`

	sqliteReadDocument = `
SELECT version, deleted, size, field_versions, client_id, edit_id, updated_by, updated_at,
       CASE WHEN ?5 OR ?4 >= 0 AND version <> ?4 THEN data END
FROM documents
WHERE space_id = ?1
  AND collection = ?2
  AND id = ?3`

	sqliteWriteSpace = `
INSERT INTO spaces AS s (id, head, digest, live_count, epoch, past_epochs, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, COALESCE(NULLIF(?6, ''), '[]'), ?7)
ON CONFLICT (id) DO UPDATE
SET head = excluded.head, digest = excluded.digest, live_count = excluded.live_count, epoch = excluded.epoch,
    past_epochs = COALESCE(NULLIF(?6, ''), s.past_epochs)`

	sqliteWriteDocument = `
INSERT INTO documents (space_id, collection, id, version, deleted, data, size, field_versions,
                       client_id, edit_id, updated_by, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, deleted = excluded.deleted, data = excluded.data, size = excluded.size,
    field_versions = excluded.field_versions, client_id = excluded.client_id, edit_id = excluded.edit_id,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at`

	sqliteWriteClient = `
INSERT INTO clients AS c (space_id, subject, client_id, receipts, older_receipts, older_tag, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (space_id, subject, client_id) DO UPDATE
SET receipts = excluded.receipts, older_receipts = COALESCE(NULLIF(excluded.older_receipts, x''), c.older_receipts),
    older_tag = COALESCE(NULLIF(excluded.older_tag, 0), c.older_tag),
    seen_at = excluded.seen_at`
)

// sqliteTx is a write transaction. BEGIN IMMEDIATE takes the lock of the whole
// database, so no space is ever left out. Once begun nothing waits, and statements
// get no deadline: watching one costs more than most statements do.
type sqliteTx struct {
	writer *sqliteWriter
	tx     *sql.Tx
}

func (w *sqliteWriter) begin(ctx context.Context) (transaction, error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &sqliteTx{w, tx}, nil
}

// end is without effect after a commit.
func (tx *sqliteTx) end() { _ = tx.tx.Rollback() }

func (tx *sqliteTx) lock(ctx context.Context, group *syncer.Group) ([]*syncer.Locked, error) {
	ctx = context.WithoutCancel(ctx)
	found := make([]*syncer.Locked, len(group.Touches))
	for i := range group.Touches {
		var err error
		if found[i], err = tx.read(ctx, &group.Touches[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// read reads what one touch names.
func (tx *sqliteTx) read(ctx context.Context, touch *syncer.Touch) (*syncer.Locked, error) {
	now := tx.writer.now()
	l := &syncer.Locked{
		Now:       now.UnixMicro(),
		Identity:  tx.writer.identity,
		Documents: make(map[syncer.Key]*models.Document, len(touch.Documents)),
		Receipts:  make(map[syncer.Client]syncer.Receipts, len(touch.Clients)),
		Inbox:     make(map[int64]bool, len(touch.Inbox)),
	}
	s := &l.Space
	err := tx.tx.StmtContext(ctx, tx.writer.readSpace).QueryRowContext(ctx, touch.Space).
		Scan(&s.ID, &s.Head, &s.Floor, &s.Epoch, &s.PastEpochs, &s.Digest, &s.LiveCount, &s.CreatedAt, &s.RetentionMS, &s.DeletedThrough)
	if errors.Is(err, sql.ErrNoRows) {
		// Its row is made when something is written to it.
		*s = models.Space{ID: touch.Space, PastEpochs: "[]", CreatedAt: now.UnixMilli()}
	} else if err != nil {
		return nil, err
	}
	if err := tx.readClients(ctx, touch, l); err != nil {
		return nil, err
	}
	if err := tx.readDocuments(ctx, touch, l); err != nil {
		return nil, err
	}
	if err := tx.readInbox(ctx, touch, l); err != nil {
		return nil, err
	}
	return l, nil
}

func (tx *sqliteTx) readClients(ctx context.Context, touch *syncer.Touch, l *syncer.Locked) error {
	clients := tx.tx.StmtContext(ctx, tx.writer.readClient)
	for _, c := range touch.Clients {
		var receipts syncer.Receipts
		err := clients.QueryRowContext(ctx, touch.Space, c.Subject, c.ID, touch.Known[c]).
			Scan(&receipts.Newest, &receipts.Older, &receipts.OlderTag)
		if err == nil {
			l.Receipts[c] = receipts
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

func (tx *sqliteTx) readDocuments(ctx context.Context, touch *syncer.Touch, l *syncer.Locked) error {
	documents := tx.tx.StmtContext(ctx, tx.writer.readDocument)
	for _, want := range touch.Documents {
		d := &models.Document{SpaceID: touch.Space, Collection: want.Collection, ID: want.ID}
		err := documents.QueryRowContext(ctx, touch.Space, want.Collection, want.ID, want.Base, want.Data).
			Scan(&d.Version, &d.Deleted, &d.Size, &d.FieldVersions, &d.ClientID, &d.EditID, &d.UpdatedBy, &d.UpdatedAt, &d.Data)
		if err == nil {
			l.Documents[want.Key] = d
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

func (tx *sqliteTx) readInbox(ctx context.Context, touch *syncer.Touch, l *syncer.Locked) error {
	inbox := tx.tx.StmtContext(ctx, tx.writer.readInboxRow)
	for _, id := range touch.Inbox {
		var there bool
		if err := inbox.QueryRowContext(ctx, id).Scan(&there); err == nil {
			l.Inbox[id] = there
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

func (tx *sqliteTx) write(ctx context.Context, _ []syncer.Touch, found []*syncer.Locked, writes []syncer.Writes) error {
	ctx = context.WithoutCancel(ctx)
	for i := range writes {
		if writes[i].Empty() {
			continue
		}
		if err := tx.writeOne(ctx, found[i], &writes[i]); err != nil {
			return err
		}
	}
	fault.Point(fault.PushBeforeCommit)
	if err := tx.tx.Commit(); err != nil {
		return &commitError{err}
	}
	return nil
}

// commitError is an error of COMMIT itself.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

// writeOne writes what belongs to one space.
func (tx *sqliteTx) writeOne(ctx context.Context, found *syncer.Locked, w *syncer.Writes) error {
	if err := tx.takeInbox(ctx, w.Inbox); err != nil {
		return err
	}
	s := w.Space
	if s == nil {
		s = &found.Space // its row may not be there yet
	}
	_, err := tx.tx.StmtContext(ctx, tx.writer.writeSpace).
		ExecContext(ctx, s.ID, s.Head, s.Digest, s.LiveCount, s.Epoch, newPastEpochs(w), s.CreatedAt)
	if err != nil {
		return err
	}
	documents := tx.tx.StmtContext(ctx, tx.writer.writeDocument)
	for _, d := range w.Documents {
		_, err := documents.ExecContext(ctx, s.ID, d.Collection, d.ID, d.Version, d.Deleted, d.Data, d.Size, d.FieldVersions,
			d.ClientID, d.EditID, d.UpdatedBy, d.UpdatedAt)
		if err != nil {
			return err
		}
	}
	fault.Point(fault.PushDocumentsWritten)
	clients := tx.tx.StmtContext(ctx, tx.writer.writeClient)
	for c, receipts := range w.Receipts {
		if _, err := clients.ExecContext(ctx, s.ID, c.Subject, c.ID, receipts.Newest, orEmpty(receipts.Older), receipts.OlderTag, found.Now/1000); err != nil {
			return err
		}
	}
	fault.Point(fault.PushClientsWritten)
	return nil
}
