package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ServerRuns reports whether a server works on the database that url names. On PostgreSQL
// they are known by their name.
func ServerRuns(ctx context.Context, databaseURL string) (bool, error) {
	if path, ok := SQLitePath(databaseURL); ok {
		lock := flock.New(path + ".lock")
		free, err := lock.TryRLock()
		if free {
			err = errors.Join(ownAsFolder(lock.Path()), lock.Unlock())
		}
		return !free, err
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return false, fmt.Errorf("database URL: %w", err)
	}
	name := serverName(config)
	config.ConnConfig.RuntimeParams["application_name"] = commandName
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return false, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // it has told
	var servers int
	if err := conn.QueryRow(ctx, serversOf, name).Scan(&servers); err != nil {
		return false, fmt.Errorf("look for servers: %w", err)
	}
	return servers > 0, nil
}
