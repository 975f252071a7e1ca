package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// inboxRows reads the first rows of spaces. Index inbox_space (space, inbox_id): it
// goes from space to space, so the rows of one, however many, are in nobody's way.
const inboxRows = `
WITH RECURSIVE waiting (space) AS (
    (
        SELECT space
        FROM inbox
        WHERE space > $1
        ORDER BY space
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT i.space
        FROM inbox AS i
        WHERE i.space > w.space
        ORDER BY i.space
        LIMIT 1
    )
    FROM waiting AS w
    WHERE w.space IS NOT NULL
)
SELECT r.inbox_id, s.space, r.collection, r.id, r.op, r.data, r.base_version, r.created_at
FROM (
    SELECT space
    FROM waiting
    WHERE space IS NOT NULL
      AND space <> ALL($2::text[])
    LIMIT $3
) AS s
CROSS JOIN LATERAL (
    SELECT *, COALESCE(sum(octet_length(data)) OVER before, 0) AS bytes
    FROM (
        SELECT inbox_id, collection, id, op, left(CAST(data AS text), $6) AS data, base_version, created_at
        FROM inbox
        WHERE space = s.space
        ORDER BY inbox_id
        LIMIT $4
    ) AS first
    WINDOW before AS (ORDER BY inbox_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS r
WHERE r.bytes < $5
ORDER BY s.space, r.inbox_id`

func (d *postgresDialect) inbox(ctx context.Context, want syncer.InboxRange) ([]models.Inbox, error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	skip := want.Skip
	if skip == nil {
		skip = []string{} // NULL would skip all
	}
	rows, err := conn.Query(ctx, inboxRows, want.After, skip, want.Spaces, models.MaxEdits, inboxBytes, inboxText)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r models.Inbox, err error) {
		err = row.Scan(&r.InboxID, &r.Space, &r.Collection, &r.ID, &r.Op, &r.Data, &r.BaseVersion, &r.CreatedAt)
		return r, err
	})
}

// takeInbox takes rows out of the inbox, those with a code to the rejected ones. It
// waits for nobody: a row that somebody has locked by hand is left where it is. All
// by primary key, if planByIndex goes before it.
const takeInbox = `
WITH done AS (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS n (inbox_id, code, detail, pointer)
),
gone AS (
    DELETE FROM inbox
    WHERE inbox_id = ANY (ARRAY(
        SELECT i.inbox_id
        FROM done
        CROSS JOIN LATERAL (
            SELECT inbox_id
            FROM inbox
            WHERE inbox_id = done.inbox_id
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) AS i
    ))
    RETURNING *
),
rejected AS (
    INSERT INTO inbox_rejected (inbox_id, space, collection, id, op, data, base_version, created_at,
                                code, detail, pointer, rejected_at)
    SELECT gone.inbox_id, gone.space, gone.collection, gone.id, gone.op, gone.data, gone.base_version, gone.created_at,
           done.code, done.detail, done.pointer, $5
    FROM gone
    JOIN done ON done.inbox_id = gone.inbox_id
    WHERE done.code <> ''
)`

// planByIndex: a plan is kept, and one that was made while the inbox was empty would
// read it whole when it is full.
const planByIndex = `SET LOCAL enable_seqscan = off`

// allTaken divides by zero unless all rows were there. The COMMIT is on its way
// already, so only an error of a statement can keep it from being carried out.
const allTaken = `
SELECT 1 / CAST((SELECT count(*) FROM gone) = cardinality($1) AS integer)`

// whatWasThere counts, for who doesn't mind.
const whatWasThere = `
SELECT count(*)
FROM gone`

func (d *postgresDialect) rejectInbox(ctx context.Context, ids []int64, problem *models.EditError) (moved int, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	var fates inboxFates
	for _, id := range ids {
		fates.add(id, problem)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, planByIndex); err != nil {
			return err
		}
		return tx.QueryRow(ctx, takeInbox+whatWasThere, fates.arguments()...).Scan(&moved)
	})
	return moved, err
}

// inboxFates are rows to take out of the inbox, column by column.
type inboxFates struct {
	id                    []int64
	code, detail, pointer []string
}

func (f *inboxFates) add(id int64, problem *models.EditError) {
	if problem == nil {
		problem = &models.EditError{}
	}
	f.id = append(f.id, id)
	f.code = append(f.code, string(problem.Code))
	f.detail = append(f.detail, problem.Detail)
	f.pointer = append(f.pointer, problem.Pointer)
}

func (f *inboxFates) arguments() []any {
	return []any{f.id, f.code, f.detail, f.pointer, time.Now().UnixMilli()}
}
