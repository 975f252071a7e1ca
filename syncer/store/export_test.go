package store

import "context"

// WaitLong makes a store on SQLite wait longer for the file than a busy machine needs to
// run a test beside it.
func (s *Store) WaitLong() error { return s.writer.Exec("PRAGMA busy_timeout = 60000").Error }

// Warn leaves on the idle connections what a commit of somebody else was warned of.
func (s *Store) Warn(ctx context.Context) (connections int) {
	for _, conn := range s.dialect.(*postgresDialect).pool.AcquireAllIdle(ctx) {
		conn.Conn().PgConn().CustomData()[unconfirmed] = true
		conn.Release()
		connections++
	}
	return connections
}
