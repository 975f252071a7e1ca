package limits

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/load/wire"
)

// table has the shape of documents: the same columns, the same primary key, the
// same feed. It stands here in full so that the limit stays what it is when
// Tidemark's schema changes.
const table = `
CREATE TABLE bench_documents (
    space_id       text    COLLATE "C" NOT NULL,
    collection     text    COLLATE "C" NOT NULL,
    id             text    COLLATE "C" NOT NULL,
    version        bigint  NOT NULL,
    deleted        boolean NOT NULL DEFAULT false,
    data           json,
    size           bigint  NOT NULL DEFAULT 0,
    field_versions text    NOT NULL DEFAULT '',
    client_id      text    COLLATE "C" NOT NULL,
    edit_id        text    COLLATE "C" NOT NULL,
    updated_by     text    NOT NULL,
    updated_at     bigint  NOT NULL,
    PRIMARY KEY (space_id, collection, id)
);
CREATE INDEX bench_documents_feed ON bench_documents (space_id, version)`

// The ids of all documents are decimal numbers of 19 digits. Those that are
// there from the start lie Step apart, the others anywhere between, so that
// creations and updates both hit the whole width of the key.
const (
	FirstID = 1_000_000_000_000_000_000
	LastID  = 9_000_000_000_000_000_000
)

// Step returns how far apart count ids lie.
func Step(count int) uint64 { return (LastID - FirstID) / uint64(count+1) }

// prefill creates documents of each of the clients: as many as Tidemark's
// clients create before they are measured.
const prefill = `
INSERT INTO bench_documents (space_id, collection, id, version, data, size, client_id, edit_id, updated_by, updated_at)
SELECT CASE WHEN $4 THEN (n %% $2)::text ELSE '0' END, '%[1]s', ($5::bigint + n * $6::bigint)::text, n, $3::json, 200,
       'client-' || n %% $2, 'client-' || n %% $2 || '-' || n, 'subject-' || n %% $2, n
FROM generate_series(0, $1::bigint - 1) AS n`

// Prepare makes the table and fills it with count documents of the clients,
// each in a space of its own or all in one.
func Prepare(ctx context.Context, databaseURL string, count, clients int, spaces bool) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, table); err != nil {
		return fmt.Errorf("make the table of the limit: %w", err)
	}
	_, err = conn.Exec(ctx, fmt.Sprintf(prefill, wire.Collection), int64(count), int64(clients),
		string(wire.Document(1)), spaces, int64(FirstID), int64(Step(count)))
	if err != nil {
		return fmt.Errorf("fill the table of the limit: %w", err)
	}
	if _, err := conn.Exec(ctx, "ANALYZE bench_documents"); err != nil {
		return err
	}
	return nil
}
