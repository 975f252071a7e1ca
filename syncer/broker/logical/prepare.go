package logical

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark/tidemark/syncer/broker/postgres"
)

const (
	publication = "tidemark"
	// answer bounds the wait for an answer of the server.
	answer = 5 * time.Second
)

// lacking returns the tables that the publication doesn't hold yet, each with the
// columns that are of use: documents written to the inbox needn't go over the wire
// twice. Column lists came with PostgreSQL 15. A table is the one that the search
// path finds, as for the store; one that isn't there is none that is lacking.
const lacking = `
SELECT format('%I.%I', n.nspname, c.relname)
    || CASE
           WHEN current_setting('server_version_num')::int < 150000 THEN ''
           WHEN c.relname = 'spaces' THEN ' (id, head)'
           ELSE ' (inbox_id, space)'
       END
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (to_regclass('spaces'), to_regclass('inbox'))
AND NOT EXISTS (
    SELECT FROM pg_publication_tables p
    WHERE p.pubname = 'tidemark' AND p.schemaname = n.nspname AND p.tablename = c.relname
)
ORDER BY c.relname DESC`

// connect returns a connection that can replicate from a database that is ready
// for it.
func (b *Broker) connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, b.config)
	if hasState(err, notAllowed) {
		return nil, fmt.Errorf("the broker logical needs a database user that may replicate: ALTER ROLE %q REPLICATION (%w)", b.config.User, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := prepare(ctx, conn); err != nil {
		postgres.HangUp(ctx, conn)
		return nil, err
	}
	return conn, nil
}

func prepare(ctx context.Context, conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	level, err := column(ctx, conn, "SHOW wal_level")
	if err != nil {
		return fmt.Errorf("read wal_level: %w", err)
	}
	if level[0] != "logical" {
		return fmt.Errorf("the broker logical needs PostgreSQL to run with wal_level=logical, not %s: ALTER SYSTEM SET wal_level = 'logical', then restart PostgreSQL", level[0])
	}
	return publish(ctx, conn)
}

// publish sees to it that the publication holds the tables. Nodes that start
// together all may try; who comes second is told that it is done.
func publish(ctx context.Context, conn *pgconn.PgConn) error {
	tables, err := column(ctx, conn, lacking)
	if err != nil {
		return fmt.Errorf("read the publication: %w", err)
	}
	made, err := column(ctx, conn, "SELECT pubname FROM pg_publication WHERE pubname = '"+publication+"'")
	if err != nil {
		return fmt.Errorf("read the publication: %w", err)
	}
	if len(tables) == 0 && len(made) > 0 {
		return nil
	}
	if len(tables) == 0 {
		return errors.New("the broker logical finds no table spaces in this database: run tidemark migrate up")
	}
	// Deletes tell nothing: neither a drained inbox nor a space that is gone.
	statement := "CREATE PUBLICATION " + publication + " FOR TABLE " + strings.Join(tables, ", ") + " WITH (publish = 'insert, update')"
	if len(made) > 0 {
		statement = "ALTER PUBLICATION " + publication + " ADD TABLE " + strings.Join(tables, ", ")
	}
	_, err = column(ctx, conn, statement)
	switch {
	case hasState(err, alreadyThere), hasState(err, notUnique):
		return nil
	case hasState(err, notAllowed):
		return fmt.Errorf("the broker logical needs a publication, which this user may not make: as the owner of the tables, with CREATE on the database, run %s (%w)", statement, err)
	case err != nil:
		return fmt.Errorf("make the publication: %w", err)
	}
	return nil
}

// column runs a statement in the simple protocol, the only one of a connection
// that replicates, and returns its first column.
func column(ctx context.Context, conn *pgconn.PgConn, statement string) ([]string, error) {
	results, err := conn.Exec(ctx, statement).ReadAll()
	if err != nil {
		return nil, err
	}
	var values []string
	for _, row := range results[0].Rows {
		values = append(values, string(row[0]))
	}
	return values, nil
}

// SQLSTATEs.
const (
	notAllowed   = "42501"
	alreadyThere = "42710"
	notUnique    = "23505"
)

func hasState(err error, state string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == state
}
