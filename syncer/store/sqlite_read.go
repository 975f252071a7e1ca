package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// sqliteReader is the pool of connections that read. SQLite runs in this process:
// rows are made one by one as they are asked for, so a page is cut by asking for no
// more.
type sqliteReader struct {
	db *sql.DB

	head, feed, inboxSpace, inboxRows *sql.Stmt
}

const (
	// sqliteHead: primary key.
	sqliteHead = `
SELECT head, floor, epoch, past_epochs, digest, live_count, deleted_through
FROM spaces
WHERE id = ?`

	// sqliteFeed: index documents_feed (space_id, version).
	sqliteFeed = `
SELECT collection, id, version, deleted, data, client_id, edit_id, updated_by, updated_at
FROM documents
WHERE space_id = ? AND version > ?
ORDER BY version, collection, id`
)

func (r *sqliteReader) prepare(ctx context.Context) error {
	for _, statement := range []struct {
		into **sql.Stmt
		text string
	}{
		{&r.head, sqliteHead},
		{&r.feed, sqliteFeed},
		{&r.inboxSpace, sqliteInboxSpace},
		{&r.inboxRows, sqliteInbox},
	} {
		var err error
		if *statement.into, err = r.db.PrepareContext(ctx, statement.text); err != nil {
			return err
		}
	}
	return nil
}

// changes reads in one transaction, and so from one snapshot.
func (r *sqliteReader) changes(ctx context.Context, space string, want syncer.Range) (run syncer.Run, err error) {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return run, err
	}
	defer func() { _ = tx.Rollback() }() // it has written nothing
	ctx = context.WithoutCancel(ctx)     // watching a deadline costs more than a row does
	row := tx.StmtContext(ctx, r.head).QueryRowContext(ctx, space)
	if err := scanHead(row, &run.Space); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return run, err
	}
	if run.Space.Head <= want.After {
		run.Through = run.Space.Head
		return run, nil
	}
	rows, err := tx.StmtContext(ctx, r.feed).QueryContext(ctx, space, want.After)
	if err != nil {
		return run, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has been asked
	return cut(rows, run.Space, want)
}

// cut reads rows until a page is full.
func cut(rows *sql.Rows, space models.Space, want syncer.Range) (syncer.Run, error) {
	page := syncer.Pager{Limit: want.Limit}
	for looked := 1; rows.Next(); looked++ {
		var c models.Change
		var data sql.RawBytes
		err := rows.Scan(&c.Collection, &c.ID, &c.Version, &c.Deleted, &data, &c.ClientID, &c.EditID, &c.UpdatedBy, &c.UpdatedAt)
		if err != nil {
			return syncer.Run{}, err
		}
		if want.Sparse() && looked > models.MaxPageRows {
			page.Stop(c.Version)
			return page.Run(space, c.Version-1, false), nil
		}
		if !want.Shows(&c, space.Head) {
			continue
		}
		if !c.Deleted {
			c.Data = append(json.RawMessage(nil), data...)
		}
		if !page.Add(&c) {
			return page.Run(space, 0, true), nil
		}
	}
	return page.Run(space, space.Head, false), rows.Err()
}

// ping reads from the file: a SELECT of nothing would not notice that it is gone.
func (r *sqliteReader) ping(ctx context.Context) error {
	var settings int64
	return r.db.QueryRowContext(ctx, "SELECT count(*) FROM settings").Scan(&settings)
}

func (r *sqliteReader) heads(ctx context.Context, names []string, into []models.Space) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it has written nothing
	ctx = context.WithoutCancel(ctx)
	head := tx.StmtContext(ctx, r.head)
	for i, name := range names {
		err := scanHead(head.QueryRowContext(ctx, name), &into[i])
		if err == nil {
			into[i].ID = name
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

func scanHead(row *sql.Row, into *models.Space) error {
	return row.Scan(&into.Head, &into.Floor, &into.Epoch, &into.PastEpochs, &into.Digest, &into.LiveCount, &into.DeletedThrough)
}
