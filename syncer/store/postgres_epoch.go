package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrServersRun is the error of RotateEpoch while servers are connected.
var ErrServersRun = errors.New("servers are connected to the database: stop them first, for what they write before the epoch is rotated passes for what was lost")

// rotateEpoch writes a part of the database's identity (lockSpaces), unless somebody is
// connected under the name that servers have.
const rotateEpoch = `
INSERT INTO settings (name, value)
SELECT 'epoch', $1
WHERE NOT EXISTS (
    SELECT
    FROM pg_stat_activity
    WHERE datname = current_database()
      AND application_name = $2
)
ON CONFLICT (name) DO UPDATE
SET value = excluded.value`

const auditRotation = `
INSERT INTO audit_log (at, actor, action, target, detail)
VALUES ($1, $2, 'epoch_rotate', '', '')`

// RotateEpoch makes a PostgreSQL another one, as far as epochs go: after it was put back
// in a way that it can't notice. Error: ErrServersRun.
func RotateEpoch(ctx context.Context, databaseURL, actor string) error {
	config, err := pgxpool.ParseConfig(databaseURL) // which knows what is for a pool
	if err != nil {
		return fmt.Errorf("database URL: %w", err)
	}
	settings := config.ConnConfig.RuntimeParams
	servers := cmp.Or(settings["application_name"], sessionSettings["application_name"])
	settings["application_name"] = "tidemark epoch rotate"
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // it has done its work, or failed
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, rotateEpoch, []byte(rand.Text()), servers)
		if err == nil && done.RowsAffected() == 0 {
			return ErrServersRun
		}
		if err == nil {
			_, err = tx.Exec(ctx, auditRotation, time.Now().UnixMilli(), actor)
		}
		return err
	})
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer) && answer.Code == undefinedTable:
		return fmt.Errorf("the schema is older than this program: run tidemark migrate up first: %w", err)
	case err != nil && !errors.Is(err, ErrServersRun):
		return fmt.Errorf("rotate the epoch: %w", err)
	}
	return err
}

// undefinedTable is PostgreSQL's code for a table that is not there.
const undefinedTable = "42P01"
