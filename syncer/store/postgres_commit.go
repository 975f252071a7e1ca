package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// postgresTx commits a group in two round trips: what locks and reads is sent
// together, and so is what writes and commits.
type postgresTx struct {
	conn *pgxpool.Conn
}

func (d *postgresDialect) begin(ctx context.Context) (transaction, error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &postgresTx{conn}, nil
}

// end rolls back and releases. A connection that can't roll back is broken: the
// pool closes it, and the database rolls back by itself.
func (tx *postgresTx) end() {
	if tx.conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = tx.conn.Exec(ctx, "ROLLBACK") // release looks at the outcome
	}
	tx.conn.Release()
}

// In the statements below, and in those that write, lists of the same length come as
// arrays. They become rows in the select list, one row at a time: in FROM every list
// would be put aside first.

// createSpace makes the row of a space. Who makes it at the same time is waited for.
const createSpace = `
INSERT INTO spaces (id, epoch, created_at)
VALUES ($1, 0, $2)
ON CONFLICT DO NOTHING`

// lockSpaces locks the rows of spaces in the order of their names, by primary key.
// The clock is clock_timestamp, not now(): now() is when the transaction began.
//
// The identity is made of when the server was started, which no two servers and no two
// lives of one share to the microsecond, and of which database and which table this is,
// for a backup may have been restored into another or into the same one meanwhile. The
// setting is for whoever knows that it isn't the same though all this is (RotateEpoch).
const lockSpaces = `
SELECT id, head, floor, epoch, past_epochs, digest, live_count, created_at, retention_ms, deleted_through,
       CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint),
       (
           SELECT hashtextextended(concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), oid, pg_relation_filenode('spaces'),
                                             (SELECT encode(value, 'hex') FROM settings WHERE name = 'epoch')), 0)
           FROM pg_database
           WHERE datname = current_database()
       ) AS identity
FROM spaces
WHERE id = ANY($1)
ORDER BY id
FOR NO KEY UPDATE`

// lockFreeSpaces leaves out those that somebody else has locked.
const lockFreeSpaces = lockSpaces + ` SKIP LOCKED`

// touchedClients reads the receipts of clients, by primary key: the older ones only
// where they are not known, for they lie outside of the row. A lateral join with
// a limit, here and below, because the plan of a plain one goes wrong on a table
// that has just begun to grow.
const touchedClients = `
SELECT n.place, c.receipts, CASE WHEN c.older_tag <> n.known THEN c.older_receipts END, c.older_tag
FROM (
    SELECT generate_subscripts($1::text[], 1) AS place, unnest($1::text[]) AS space_id, unnest($2::text[]) AS subject,
           unnest($3::text[]) AS client_id, unnest($4::bigint[]) AS known
) AS n
CROSS JOIN LATERAL (
    SELECT receipts, older_receipts, older_tag
    FROM clients
    WHERE space_id = n.space_id
      AND subject = n.subject
      AND client_id = n.client_id
    LIMIT 1
) AS c`

// touchedDocuments reads documents by primary key: the text only where it is asked
// for, or where the version is not the base.
const touchedDocuments = `
SELECT n.place, d.version, d.deleted, d.size, d.field_versions,
       d.client_id, d.edit_id, d.updated_by, d.updated_at, d.data
FROM (
    SELECT generate_subscripts($1::text[], 1) AS place, unnest($1::text[]) AS space_id, unnest($2::text[]) AS collection,
           unnest($3::text[]) AS id, unnest($4::bigint[]) AS base, unnest($5::boolean[]) AS whole
) AS n
CROSS JOIN LATERAL (
    SELECT version, deleted, size, field_versions, client_id, edit_id, updated_by, updated_at,
           CASE WHEN n.whole OR n.base >= 0 AND version <> n.base THEN data END AS data
    FROM documents
    WHERE space_id = n.space_id
      AND collection = n.collection
      AND id = n.id
    LIMIT 1
) AS d`

// touchedInbox tells which rows of the inbox are there, by primary key.
const touchedInbox = `
SELECT n.place
FROM unnest($1::bigint[]) WITH ORDINALITY AS n (inbox_id, place)
CROSS JOIN LATERAL (
    SELECT 1
    FROM inbox
    WHERE inbox_id = n.inbox_id
    LIMIT 1
) AS i`

func (tx *postgresTx) lock(ctx context.Context, group *syncer.Group) ([]*syncer.Locked, error) {
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	lock, reader := lockFreeSpaces, newReader(group.Touches)
	if group.Wait {
		lock = lockSpaces
		batch.Queue(createSpace, group.Touches[0].Space, time.Now().UnixMilli())
	}
	batch.Queue(lock, reader.names).Query(reader.spaces)
	if len(reader.clients) > 0 {
		batch.Queue(touchedClients, reader.clientArrays()...).Query(reader.receipts)
	}
	if len(reader.documents) > 0 {
		batch.Queue(touchedDocuments, reader.documentArrays()...).Query(reader.states)
	}
	if len(reader.inbox) > 0 {
		batch.Queue(touchedInbox, reader.inboxArray()).Query(reader.waiting)
	}
	if err := tx.conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	if group.Wait && reader.found[0] == nil {
		return nil, fmt.Errorf("space %s is not there after it was made", group.Touches[0].Space)
	}
	return reader.found, nil
}

// groupReader puts what the statements return where it belongs.
type groupReader struct {
	touches   []syncer.Touch
	names     []string // of the spaces
	found     []*syncer.Locked
	clients   []place // of all touches, one after another
	documents []place
	inbox     []place
}

// place says that something is at index of the touch.
type place struct{ touch, index int }

func newReader(touches []syncer.Touch) *groupReader {
	r := &groupReader{touches: touches, found: make([]*syncer.Locked, len(touches))}
	for i := range touches {
		r.names = append(r.names, touches[i].Space)
		for j := range touches[i].Clients {
			r.clients = append(r.clients, place{i, j})
		}
		for j := range touches[i].Documents {
			r.documents = append(r.documents, place{i, j})
		}
		for j := range touches[i].Inbox {
			r.inbox = append(r.inbox, place{i, j})
		}
	}
	return r
}

func (r *groupReader) spaces(rows pgx.Rows) error {
	at := 0
	for rows.Next() {
		l := &syncer.Locked{}
		s := &l.Space
		if err := rows.Scan(&s.ID, &s.Head, &s.Floor, &s.Epoch, &s.PastEpochs, &s.Digest, &s.LiveCount, &s.CreatedAt, &s.RetentionMS, &s.DeletedThrough, &l.Now, &l.Identity); err != nil {
			return err
		}
		if l.Identity == 0 {
			l.Identity = 1
		}
		for r.touches[at].Space != s.ID { // both are in order
			at++
		}
		l.Documents = make(map[syncer.Key]*models.Document, len(r.touches[at].Documents))
		l.Receipts = make(map[syncer.Client]syncer.Receipts, len(r.touches[at].Clients))
		l.Inbox = make(map[int64]bool, len(r.touches[at].Inbox))
		r.found[at] = l
	}
	return rows.Err()
}

func (r *groupReader) clientArrays() []any {
	n := len(r.clients)
	spaces, subjects, ids, known := make([]string, n), make([]string, n), make([]string, n), make([]int64, n)
	for i, p := range r.clients {
		touch := &r.touches[p.touch]
		c := touch.Clients[p.index]
		spaces[i], subjects[i], ids[i], known[i] = touch.Space, c.Subject, c.ID, touch.Known[c]
	}
	return []any{spaces, subjects, ids, known}
}

func (r *groupReader) receipts(rows pgx.Rows) error {
	for rows.Next() {
		var row int64
		var receipts syncer.Receipts
		if err := rows.Scan(&row, &receipts.Newest, &receipts.Older, &receipts.OlderTag); err != nil {
			return err
		}
		p := r.clients[row-1]
		if l := r.found[p.touch]; l != nil {
			l.Receipts[r.touches[p.touch].Clients[p.index]] = receipts
		}
	}
	return rows.Err()
}

func (r *groupReader) documentArrays() []any {
	n := len(r.documents)
	spaces, collections, ids := make([]string, n), make([]string, n), make([]string, n)
	bases, whole := make([]int64, n), make([]bool, n)
	for i, p := range r.documents {
		w := &r.touches[p.touch].Documents[p.index]
		spaces[i], collections[i], ids[i] = r.touches[p.touch].Space, w.Collection, w.ID
		bases[i], whole[i] = w.Base, w.Data
	}
	return []any{spaces, collections, ids, bases, whole}
}

func (r *groupReader) states(rows pgx.Rows) error {
	for rows.Next() {
		var row int64
		d := &models.Document{}
		err := rows.Scan(&row, &d.Version, &d.Deleted, &d.Size, &d.FieldVersions,
			&d.ClientID, &d.EditID, &d.UpdatedBy, &d.UpdatedAt, &d.Data)
		if err != nil {
			return err
		}
		p := r.documents[row-1]
		key := r.touches[p.touch].Documents[p.index].Key
		d.SpaceID, d.Collection, d.ID = r.touches[p.touch].Space, key.Collection, key.ID
		if l := r.found[p.touch]; l != nil {
			l.Documents[key] = d
		}
	}
	return rows.Err()
}

func (r *groupReader) inboxArray() []int64 {
	ids := make([]int64, len(r.inbox))
	for i, p := range r.inbox {
		ids[i] = r.touches[p.touch].Inbox[p.index]
	}
	return ids
}

func (r *groupReader) waiting(rows pgx.Rows) error {
	for rows.Next() {
		var row int64
		if err := rows.Scan(&row); err != nil {
			return err
		}
		p := r.inbox[row-1]
		if l := r.found[p.touch]; l != nil {
			l.Inbox[r.touches[p.touch].Inbox[p.index]] = true
		}
	}
	return rows.Err()
}
