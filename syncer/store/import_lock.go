package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrServerRuns is the error of an import into a database on which a server runs.
var ErrServerRuns = errors.New("a server is connected to the database: stop it first, for it must not serve what is there in part")

// commandName is what commands call themselves, so that they are not taken for servers.
const commandName = "tidemark command"

// ImportLock keeps other imports away from a database.
type ImportLock struct {
	conn    *pgx.Conn // nil on SQLite
	servers string    // what servers call themselves
	release func() error
}

// LockImport takes the lock of an import: on SQLite the one that a server holds for its
// whole life. On PostgreSQL servers are told from other programs by their names; one
// that starts later finds the import's marks, and does not.
func LockImport(ctx context.Context, databaseURL string) (*ImportLock, error) {
	if !IsPostgres(databaseURL) {
		release, err := Lock(databaseURL)
		return &ImportLock{release: release}, err
	}
	config, err := pgxpool.ParseConfig(databaseURL) // which knows what is for a pool
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	l := &ImportLock{servers: serverName(config)}
	config.ConnConfig.RuntimeParams["application_name"] = commandName
	if l.conn, err = pgx.ConnectConfig(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	l.release = func() error { return l.conn.Close(context.WithoutCancel(ctx)) }
	var alone bool
	if err = l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", advisoryImport).Scan(&alone); err == nil && !alone {
		err = errors.New("another import works on this database")
	}
	if err == nil {
		err = l.Check(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

// advisoryImport is the number of the lock that one import at a time holds.
const advisoryImport = 7218905430188742

// serversOf counts the connections of servers.
const serversOf = `
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database()
  AND application_name = $1`

// Check returns ErrServerRuns if a server is connected to a PostgreSQL.
func (l *ImportLock) Check(ctx context.Context) error {
	if l.conn == nil {
		return nil
	}
	var servers int
	if err := l.conn.QueryRow(ctx, serversOf, l.servers).Scan(&servers); err != nil {
		return fmt.Errorf("look for servers: %w", err)
	}
	if servers > 0 {
		return ErrServerRuns
	}
	return nil
}

// Release ends it.
func (l *ImportLock) Release() error { return l.release() }

// serverName is what a server that is given this URL calls itself.
func serverName(config *pgxpool.Config) string {
	return cmp.Or(config.ConnConfig.RuntimeParams["application_name"], sessionSettings["application_name"])
}

// ForCommand returns databaseURL for the connections of a command that is no server.
func ForCommand(databaseURL string) (string, error) {
	if !IsPostgres(databaseURL) {
		return databaseURL, nil
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errURL // what url.Parse says repeats the URL, password and all
	}
	query := u.Query()
	query.Set("application_name", commandName)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
