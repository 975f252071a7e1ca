package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// plainChanges reads a space's row and the next $5 documents of its feed, in one
// statement and so from one snapshot: a head read apart could be newer than the
// documents, and the client would never ask for what lies between. The client of
// the statement cuts the page.
//
// The space comes first, what it tells in columns of the documents, which follow in the order in which an index yields them: nothing is sorted, so rows
// are sent while others are read. No standard says that UNION ALL keeps its order;
// PostgreSQL does, and the reader makes sure of it.
//
// Where the documents are so large that much of what is read would be cut off, it
// reads none and says so: cutChanges is for those. It looks at $6 rows at most, and
// says whether nothing is left. Index documents_feed (space_id COLLATE "POSIX", version),
// twice: the collation is the same as "C" by another name, which only that index has.
const plainChanges = `
WITH space AS MATERIALIZED (
    SELECT head, floor, epoch, past_epochs, digest, live_count, deleted_through, CASE WHEN $4 THEN head ELSE $3 END AS hide
    FROM spaces
    WHERE id = $1
),
page AS MATERIALIZED (
    SELECT count(*) AS documents, COALESCE(sum(size), 0) > $7 AS too_large
    FROM (
        SELECT size
        FROM (
            SELECT version, size, deleted
            FROM documents
            WHERE space_id COLLATE "POSIX" = $1 AND version > $2
            ORDER BY version
            LIMIT $6
        ) AS looked
        WHERE NOT deleted OR version > (SELECT hide FROM space)
        ORDER BY version
        LIMIT $5
    ) AS sizes
)
SELECT epoch,
       documents < $5 AND $6 > (
           SELECT count(*)
           FROM (
               SELECT
               FROM documents
               WHERE space_id COLLATE "POSIX" = $1 AND version > $2
               LIMIT $6
           ) AS looked
       ) AS complete,
       NULL AS collection, CAST(digest AS text) AS id, head AS version, too_large AS deleted, NULL AS data,
       CAST(live_count AS text) AS client_id, past_epochs AS edit_id, CAST(deleted_through AS text) AS updated_by,
       floor AS updated_at
FROM space
CROSS JOIN page
UNION ALL (
    SELECT NULL, NULL, collection, id, version, deleted, data, client_id, edit_id, updated_by, updated_at
    FROM (
        SELECT collection, id, version, deleted, data, client_id, edit_id, updated_by, updated_at
        FROM documents
        WHERE space_id COLLATE "POSIX" = $1 AND version > $2
        ORDER BY version
        LIMIT $6
    ) AS looked
    WHERE NOT (SELECT too_large FROM page)
      AND (NOT deleted OR version > (SELECT hide FROM space))
    ORDER BY version
    LIMIT $5
)`

// cutChanges is plainChanges for everything else: it cuts the page itself, before it
// reads any text, and leaves out collections.
//
// edge: where the page must end because $5 rows were looked at: the version of the
// next one.
//
// matched: the next documents to show, more than fit a page.
//
// sized: windows ordered by version take all rows of a version together, so
// documents and bytes are counted through whole versions and the page never splits
// one. The first version is taken whatever its size.
const cutChanges = `
WITH space AS (
    SELECT head, floor, epoch, past_epochs, digest, live_count, deleted_through
    FROM spaces
    WHERE id = $1
),
edge AS (
    SELECT CASE WHEN $4 THEN (
        SELECT version
        FROM documents
        WHERE space_id COLLATE "POSIX" = $1 AND version > $2
        ORDER BY version
        LIMIT 1 OFFSET $5
    ) END AS version
),
matched AS (
    SELECT collection, id, version, size
    FROM documents
    WHERE space_id COLLATE "POSIX" = $1
      AND version > $2
      AND version < COALESCE((SELECT version FROM edge), $6)
      AND (NOT deleted OR version > CASE WHEN $7 THEN (SELECT head FROM space) ELSE $3 END)
      AND ($8::text[] IS NULL OR collection = ANY($8))
    ORDER BY version
    LIMIT $9
),
sized AS (
    SELECT collection, id,
           version = min(version) OVER () AS first,
           count(*) OVER feed AS documents,
           sum(size) OVER feed AS bytes
    FROM matched
    WINDOW feed AS (ORDER BY version)
)
SELECT space.head, space.floor, space.epoch, space.digest, space.live_count, space.deleted_through,
       CASE row_number() OVER () WHEN 1 THEN space.past_epochs END, -- once: there may be many
       COALESCE((SELECT version FROM edge), 0),
       (SELECT count(*) FROM matched),
       d.collection, d.id, d.version, d.deleted, d.data, d.client_id, d.edit_id, d.updated_by, d.updated_at
FROM space
LEFT JOIN (
    SELECT d.*
    FROM sized
    CROSS JOIN documents AS d
    WHERE d.space_id = $1
      AND d.collection = sized.collection
      AND d.id = sized.id
      AND (sized.first OR sized.documents <= $10 AND sized.bytes <= $11)
) AS d ON true
ORDER BY d.version, d.collection, d.id`

func (d *postgresDialect) changes(ctx context.Context, space string, r syncer.Range) (syncer.Run, error) {
	if len(r.Collections) == 0 {
		run, ok, err := d.plainChanges(ctx, space, r)
		if ok || err != nil {
			return run, err
		}
	}
	return d.cutChanges(ctx, space, r)
}

// plainChanges reports false where it can't tell where the page ends.
func (d *postgresDialect) plainChanges(ctx context.Context, space string, r syncer.Range) (run syncer.Run, ok bool, err error) {
	looked := models.MaxPageRows
	if !r.Sparse() {
		looked = pageRows(r)
	}
	conn, err := d.acquire(ctx)
	if err != nil {
		return run, false, err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, plainChanges, space, r.After, r.HideUpTo, r.Snapshot, pageRows(r), looked, 2*models.MaxPageBytes)
	if err != nil {
		return run, false, err
	}
	defer rows.Close()
	var epoch pgtype.Int8
	var complete pgtype.Bool
	var row changeRow
	into := append([]any{&epoch, &complete}, row.columns()...)
	if !rows.Next() {
		return run, true, rows.Err() // there is no such space
	}
	if err := rows.Scan(into...); err != nil {
		return run, false, err
	}
	at, err := row.space(epoch)
	if err != nil {
		return run, false, fmt.Errorf("the row of space %s: %w", space, err)
	}
	tooLarge, all := row.deleted.Bool, complete.Bool
	page, full := syncer.Pager{Limit: r.Limit}, false
	for last := int64(0); rows.Next() && !full; last = int64(row.version) {
		if err := rows.Scan(into...); err != nil {
			return run, false, err
		}
		if int64(row.version) < last {
			return run, false, nil // out of order; cutChanges sorts
		}
		full = !page.Add(row.change())
	}
	rows.Close()
	return page.Run(at, at.Head, full), !tooLarge && (full || all), rows.Err()
}

func (d *postgresDialect) cutChanges(ctx context.Context, space string, r syncer.Range) (run syncer.Run, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return run, err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, cutChanges, space, r.After, r.HideUpTo, r.Sparse(), models.MaxPageRows, models.MaxVersion+1,
		r.Snapshot, r.Collections, pageRows(r), r.Limit, models.MaxPageBytes)
	if err != nil {
		return run, err
	}
	defer rows.Close()
	var edge, found int64
	var past plain
	var row changeRow
	into := append([]any{&run.Space.Head, &run.Space.Floor, &run.Space.Epoch, &run.Space.Digest, &run.Space.LiveCount, &run.Space.DeletedThrough, &past, &edge, &found}, row.columns()...)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return run, err
		}
		if past != "" {
			run.Space.PastEpochs = string(past)
		}
		if row.is() {
			run.Changes = append(run.Changes, *row.change())
		}
	}
	switch n := int64(len(run.Changes)); {
	case n < found:
		run.Through = run.Changes[n-1].Version
	case edge > 0:
		run.Through = edge - 1
	default:
		run.Through = run.Space.Head
	}
	return run, rows.Err()
}

// changeRow receives the columns of a change, without the texts that the row before
// had too: most rows of a page are of one collection, client and subject. All are
// NULL in the row that only tells of the space.
type changeRow struct {
	collection, client, by repeated
	id, edit               plain
	version, at            number
	deleted                pgtype.Bool
	data                   []byte
}

func (r *changeRow) columns() []any {
	return []any{&r.collection, &r.id, &r.version, &r.deleted, &r.data, &r.client, &r.edit, &r.by, &r.at}
}

// space reads the row of plainChanges that tells of the space.
func (r *changeRow) space(epoch pgtype.Int8) (s models.Space, err error) {
	if !epoch.Valid {
		return s, errors.New("there is no epoch")
	}
	s = models.Space{Head: int64(r.version), Floor: int64(r.at), Epoch: epoch.Int64, PastEpochs: string(r.edit)}
	if s.Digest, err = strconv.ParseInt(string(r.id), 10, 64); err != nil {
		return s, err
	}
	if s.LiveCount, err = strconv.ParseInt(string(r.client), 10, 64); err != nil {
		return s, err
	}
	s.DeletedThrough, err = strconv.ParseInt(string(r.by), 10, 64)
	return s, err
}

// is reports whether the row is one of a change.
func (r *changeRow) is() bool { return r.deleted.Valid }

func (r *changeRow) change() *models.Change {
	return &models.Change{
		Collection: string(r.collection), ID: string(r.id), Version: int64(r.version), Deleted: r.deleted.Bool, Data: r.data,
		ClientID: string(r.client), EditID: string(r.edit), UpdatedBy: string(r.by), UpdatedAt: int64(r.at),
	}
}

// plain is a text; NULL is empty.
type plain string

// ScanBytes implements pgtype.BytesScanner.
func (p *plain) ScanBytes(v []byte) error {
	*p = plain(v)
	return nil
}

// repeated is a text that keeps its memory while it stays the same.
type repeated string

// ScanBytes implements pgtype.BytesScanner.
func (p *repeated) ScanBytes(v []byte) error {
	if string(*p) != string(v) { // compared where they are
		*p = repeated(v)
	}
	return nil
}

// number is an integer; NULL is 0.
type number int64

// ScanInt64 implements pgtype.Int64Scanner.
func (n *number) ScanInt64(v pgtype.Int8) error {
	*n = number(v.Int64)
	return nil
}

// headsOf reads how far spaces have come, by primary key, and whether the database
// may be behind another one: with each name, for there may be none that was written.
const headsOf = `
SELECT n.place, s.id, s.head, s.floor, s.epoch, s.past_epochs, s.digest, s.live_count, s.deleted_through, pg_is_in_recovery()
FROM unnest($1::text[]) WITH ORDINALITY AS n (id, place)
LEFT JOIN LATERAL (
    SELECT id, head, floor, epoch, past_epochs, digest, live_count, deleted_through
    FROM spaces
    WHERE id = n.id
    LIMIT 1
) AS s ON true`

// mayWrite tells whether the database takes what is pushed, and is the newest there is.
const mayWrite = `
SELECT NOT pg_is_in_recovery() AND NOT CAST(current_setting('transaction_read_only') AS boolean)`

var errStandby = errors.New("the database has become a standby, or takes no writes")

func (d *postgresDialect) ping(ctx context.Context) error {
	conn, err := d.pool.Acquire(ctx) // with more patience than a push: a busy node is ready
	if err != nil {
		return err
	}
	defer conn.Release()
	var writable bool
	if err := conn.QueryRow(ctx, mayWrite).Scan(&writable); err != nil {
		return err
	}
	if !writable {
		_ = conn.Conn().Close(ctx) // the next connection goes to the primary
		return errStandby
	}
	return nil
}

func (d *postgresDialect) heads(ctx context.Context, names []string, into []models.Space) error {
	conn, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, headsOf, names)
	if err != nil {
		return err
	}
	var place int
	var id, past plain
	var head, floor, epoch, digest, count, deleted number
	var standby bool
	_, err = pgx.ForEachRow(rows, []any{&place, &id, &head, &floor, &epoch, &past, &digest, &count, &deleted, &standby}, func() error {
		into[place-1] = models.Space{
			ID: string(id), Head: int64(head), Floor: int64(floor), Epoch: int64(epoch), PastEpochs: string(past),
			Digest: int64(digest), LiveCount: int64(count), DeletedThrough: int64(deleted),
		}
		return nil
	})
	if standby {
		_ = conn.Conn().Close(ctx) // the next connection goes to the primary
		return errStandby
	}
	return err
}
