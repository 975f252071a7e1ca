package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	// sqliteInboxSpace: index inbox_space (space, inbox_id).
	sqliteInboxSpace = `
SELECT space
FROM inbox
WHERE space > ?
ORDER BY space
LIMIT 1`

	// sqliteInbox: the same.
	sqliteInbox = `
SELECT inbox_id, space, collection, id, op, substr(data, 1, ?), base_version, created_at
FROM inbox
WHERE space = ?
ORDER BY inbox_id
LIMIT ?`

	// These find their row by primary key.

	sqliteReadInbox = `
SELECT 1
FROM inbox
WHERE inbox_id = ?`

	sqliteRejectInbox = `
INSERT INTO inbox_rejected (inbox_id, space, collection, id, op, data, base_version, created_at,
                            code, detail, pointer, rejected_at)
SELECT inbox_id, space, collection, id, op, data, base_version, created_at, ?, ?, ?, ?
FROM inbox
WHERE inbox_id = ?`

	sqliteDeleteInbox = `
DELETE FROM inbox
WHERE inbox_id = ?`
)

func (r *sqliteReader) inbox(ctx context.Context, want syncer.InboxRange) (list []models.Inbox, err error) {
	space := want.After
	for spaces := 0; spaces < want.Spaces; {
		switch err := r.inboxSpace.QueryRowContext(ctx, space).Scan(&space); {
		case errors.Is(err, sql.ErrNoRows):
			return list, nil
		case err != nil:
			return nil, err
		case slices.Contains(want.Skip, space):
			continue
		}
		spaces++
		if list, err = r.inboxOf(ctx, space, list); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// inboxOf appends the first rows of a space.
func (r *sqliteReader) inboxOf(ctx context.Context, space string, list []models.Inbox) ([]models.Inbox, error) {
	rows, err := r.inboxRows.QueryContext(ctx, inboxText, space, models.MaxEdits)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has been asked
	for bytes := 0; bytes < inboxBytes && rows.Next(); {
		var row models.Inbox
		err := rows.Scan(&row.InboxID, &row.Space, &row.Collection, &row.ID, &row.Op, &row.Data, &row.BaseVersion, &row.CreatedAt)
		if err != nil {
			return nil, err
		}
		if row.Data != nil {
			bytes += len(*row.Data)
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// takeInbox takes rows out of the inbox, those with a problem to the rejected ones.
func (tx *sqliteTx) takeInbox(ctx context.Context, fates []syncer.InboxFate) error {
	for _, fate := range fates {
		if gone, err := tx.takeOne(ctx, fate); err != nil {
			return err
		} else if !gone {
			return fmt.Errorf("row %d of the inbox has gone", fate.ID)
		}
	}
	return nil
}

func (tx *sqliteTx) takeOne(ctx context.Context, fate syncer.InboxFate) (gone bool, err error) {
	if p := fate.Problem; p != nil {
		_, err := tx.tx.StmtContext(ctx, tx.writer.rejectInboxRow).
			ExecContext(ctx, p.Code, p.Detail, p.Pointer, tx.writer.now().UnixMilli(), fate.ID)
		if err != nil {
			return false, err
		}
	}
	result, err := tx.tx.StmtContext(ctx, tx.writer.deleteInboxRow).ExecContext(ctx, fate.ID)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

func (w *sqliteWriter) rejectInbox(ctx context.Context, ids []int64, problem *models.EditError) (moved int, err error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	for _, id := range ids {
		gone, err := (&sqliteTx{w, tx}).takeOne(ctx, syncer.InboxFate{ID: id, Problem: problem})
		if err != nil {
			return 0, err
		}
		if gone {
			moved++
		}
	}
	return moved, tx.Commit()
}
