package store

// WaitLong makes a store on SQLite wait longer for the file than a busy machine needs to
// run a test beside it.
func (s *Store) WaitLong() error { return s.writer.Exec("PRAGMA busy_timeout = 60000").Error }
