package limits

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver that Tidemark uses

	"github.com/tidemark/tidemark/tests/load/wire"
)

const sqliteUpsert = `
INSERT INTO bench_documents (space_id, collection, id, version, data, size, client_id, edit_id, updated_by, updated_at)
VALUES (?, ?, ?, ?, ?, ?, 'client', 'client-1', 'subject', ?)
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, data = excluded.data, size = excluded.size, client_id = excluded.client_id,
    edit_id = excluded.edit_id, updated_by = excluded.updated_by, updated_at = excluded.updated_at`

// editsPerTransaction is what the limit commits at once.
const editsPerTransaction = 100

// SQLite writes prepared upserts for as long as told, a transaction for every
// 100, and returns edits per second. Half of the rows are new.
func SQLite(ctx context.Context, file string, prefilled, spaces int, length time.Duration) (float64, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		return 0, fmt.Errorf("SQLite runs with synchronous=%d: %w", synchronous, err)
	}
	for statement := range strings.SplitSeq(sqliteTable(), ";") {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return 0, fmt.Errorf("make the table of the limit: %w", err)
		}
	}
	statement, err := db.PrepareContext(ctx, sqliteUpsert)
	if err != nil {
		return 0, err
	}
	defer statement.Close()
	w := sqliteWriter{db: db, statement: statement, spaces: spaces}
	for len(w.known) < prefilled {
		if err := w.transaction(ctx, 0); err != nil {
			return 0, err
		}
	}
	edits := 0
	start := time.Now()
	for time.Since(start) < length {
		if err := w.transaction(ctx, editsPerTransaction/2); err != nil {
			return 0, err
		}
		edits += editsPerTransaction
	}
	return float64(edits) / time.Since(start).Seconds(), nil
}

// sqliteTable is the same table in SQLite's words.
func sqliteTable() string {
	return strings.NewReplacer(` COLLATE "C"`, "", "bigint ", "integer", "boolean", "integer", "DEFAULT false", "DEFAULT 0",
		"json,", "text,").Replace(table)
}

type sqliteWriter struct {
	db        *sql.DB
	statement *sql.Stmt
	spaces    int
	version   int64
	known     []uint64
}

// transaction writes editsPerTransaction rows, of which so many replace one.
func (w *sqliteWriter) transaction(ctx context.Context, updates int) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	statement := tx.StmtContext(ctx, w.statement)
	at := 0
	if updates > 0 {
		at = rand.IntN(len(w.known))
	}
	for i := range editsPerTransaction {
		var id uint64
		if i < updates {
			id = w.known[(at+i)%len(w.known)]
		} else {
			id = FirstID + rand.Uint64N(LastID-FirstID)
			w.known = append(w.known, id)
		}
		w.version++
		_, err := statement.ExecContext(ctx, strconv.FormatUint(id%uint64(w.spaces), 10), wire.Collection,
			strconv.FormatUint(id, 10), w.version, string(wire.Document(uint64(w.version))), wire.DocumentBytes, w.version)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}
