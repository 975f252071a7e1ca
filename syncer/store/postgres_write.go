package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/fault"
)

// The statements that write. Each replaces the row of its primary key, for which
// INSERT … ON CONFLICT has one plan whatever the statistics say. The rows of spaces
// are there: they are locked.

const writeSpaces = `
INSERT INTO spaces AS s (id, head, digest, live_count, epoch, past_epochs, created_at)
SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bigint[]), unnest($6::text[]), 0
ON CONFLICT (id) DO UPDATE
SET head = excluded.head, digest = excluded.digest, live_count = excluded.live_count, epoch = excluded.epoch,
    past_epochs = COALESCE(NULLIF(excluded.past_epochs, ''), s.past_epochs)`

const writeDocuments = `
INSERT INTO documents (space_id, collection, id, version, deleted, data, size, field_versions,
                       client_id, edit_id, updated_by, updated_at)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bigint[]), unnest($5::boolean[]), unnest($6::json[]),
       unnest($7::bigint[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::bigint[])
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, deleted = excluded.deleted, data = excluded.data, size = excluded.size,
    field_versions = excluded.field_versions, client_id = excluded.client_id, edit_id = excluded.edit_id,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at`

// writeClients leaves older receipts where they are if none are given: outside of
// the row, which then takes a new place without them.
const writeClients = `
INSERT INTO clients AS c (space_id, subject, client_id, receipts, older_receipts, older_tag, seen_at)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bytea[]), unnest($5::bytea[]),
       unnest($6::bigint[]), unnest($7::bigint[])
ON CONFLICT (space_id, subject, client_id) DO UPDATE
SET receipts = excluded.receipts, older_receipts = COALESCE(NULLIF(excluded.older_receipts, ''), c.older_receipts),
    older_tag = COALESCE(NULLIF(excluded.older_tag, 0), c.older_tag),
    seen_at = excluded.seen_at`

func (tx *postgresTx) write(ctx context.Context, touches []syncer.Touch, found []*syncer.Locked, writes []syncer.Writes) error {
	rows := newGroupRows(writes)
	for i := range writes {
		if !writes[i].Empty() {
			rows.add(touches[i].Space, found[i], &writes[i])
		}
	}
	batch := &pgx.Batch{}
	queue := func(what, statement string, n int, columns ...any) {
		if n == 0 {
			return
		}
		queued := batch.Queue(statement, columns...)
		queued.Fn = func(results pgx.BatchResults) error {
			tag, err := results.Exec()
			fault.Point(fault.PushFlushed)
			if err == nil && tag.RowsAffected() != int64(n) {
				err = fmt.Errorf("%d %s written, want %d", tag.RowsAffected(), what, n)
			}
			return err
		}
	}
	if len(rows.inbox.id) > 0 {
		batch.Queue(planByIndex)
		batch.Queue(takeInbox+allTaken, rows.inbox.arguments()...)
	}
	s, d, c := &rows.spaces, &rows.documents, &rows.clients
	queue("spaces", writeSpaces, len(s.id), s.id, s.head, s.digest, s.live, s.epoch, s.past)
	queue("documents", writeDocuments, len(d.id), d.space, d.collection, d.id, d.version, d.deleted, d.data, d.size,
		d.fields, d.client, d.edit, d.by, d.at)
	queue("clients", writeClients, len(c.id), c.space, c.subject, c.id, c.newest, c.older, c.tag, c.seen)
	batch.Queue("COMMIT").Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" {
			err = pgx.ErrTxCommitRollback // a transaction that has failed answers ROLLBACK
		}
		return err
	}
	fault.Point(fault.PushBeforeCommit)
	forgetWarning(tx.conn.Conn().PgConn()) // of a commit that was not this one
	if err := tx.conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return confirmed(tx.conn.Conn().PgConn())
}

// groupRows is what a group writes, column by column.
type groupRows struct {
	spaces struct {
		id, past                  []string
		head, digest, live, epoch []int64
	}
	documents struct {
		space, collection, id    []string
		version, size, at        []int64
		deleted                  []bool
		data                     []*string
		fields, client, edit, by []string
	}
	clients struct {
		space, subject, id []string
		newest, older      [][]byte
		tag, seen          []int64
	}
	inbox inboxFates
}

// newGroupRows makes room for the documents, which are many.
func newGroupRows(writes []syncer.Writes) *groupRows {
	n := 0
	for i := range writes {
		n += len(writes[i].Documents)
	}
	r := &groupRows{}
	d := &r.documents
	for _, column := range []*[]string{&d.space, &d.collection, &d.id, &d.fields, &d.client, &d.edit, &d.by} {
		*column = make([]string, 0, n)
	}
	for _, column := range []*[]int64{&d.version, &d.size, &d.at} {
		*column = make([]int64, 0, n)
	}
	d.deleted, d.data = make([]bool, 0, n), make([]*string, 0, n)
	return r
}

func (r *groupRows) add(space string, found *syncer.Locked, w *syncer.Writes) {
	if w.Space != nil {
		s := &r.spaces
		s.id = append(s.id, space)
		s.head = append(s.head, w.Space.Head)
		s.digest = append(s.digest, w.Space.Digest)
		s.live = append(s.live, w.Space.LiveCount)
		s.epoch = append(s.epoch, w.Space.Epoch)
		s.past = append(s.past, newPastEpochs(w))
	}
	d := &r.documents
	for _, row := range w.Documents {
		d.space = append(d.space, space)
		d.collection = append(d.collection, row.Collection)
		d.id = append(d.id, row.ID)
		d.version = append(d.version, row.Version)
		d.deleted = append(d.deleted, row.Deleted)
		d.data = append(d.data, row.Data)
		d.size = append(d.size, row.Size)
		d.fields = append(d.fields, row.FieldVersions)
		d.client = append(d.client, row.ClientID)
		d.edit = append(d.edit, row.EditID)
		d.by = append(d.by, row.UpdatedBy)
		d.at = append(d.at, row.UpdatedAt)
	}
	c := &r.clients
	for client, receipts := range w.Receipts {
		c.space = append(c.space, space)
		c.subject = append(c.subject, client.Subject)
		c.id = append(c.id, client.ID)
		c.newest = append(c.newest, receipts.Newest)
		c.older = append(c.older, orEmpty(receipts.Older))
		c.tag = append(c.tag, receipts.OlderTag)
		c.seen = append(c.seen, found.Now/1000)
	}
	for _, fate := range w.Inbox {
		r.inbox.add(fate.ID, fate.Problem)
	}
}

// newPastEpochs returns the past epochs of a space, "" if they stay as they are: there
// may be many.
func newPastEpochs(w *syncer.Writes) string {
	if w.NewEpoch {
		return w.Space.PastEpochs
	}
	return ""
}

// orEmpty returns b for a column that may not be NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
