// Package pgtest gives tests real, empty PostgreSQL databases.
//
//	func TestPush(t *testing.T) {
//		store := open(t, pgtest.URL(t)) // a database of its own, dropped at the end
//	}
//
// Where the server comes from, first match wins:
//
//  1. TIDEMARK_TEST_DATABASE_URL: a server that is already there. The URL
//     names any database on it whose user may create others.
//  2. Server binaries in PATH or the places installers use. They are started
//     once per test process, in a temporary folder, on loopback.
//  3. The archive that fergusstrange/embedded-postgres fetches into a cache.
//
// If none of these works the test fails with what to install. It never skips:
// a suite that silently tested only SQLite would look just as green.
//
// fsync and synchronous_commit stay on, as in production, because durability
// is among the things tested. PostgreSQL refuses to run as root, so there it
// runs as another user of the machine.
//
// A started server ends with the process that started it, however that
// process ends (package lifeline). Whoever runs many packages saves the
// start-ups with one server for all:
//
//	go run ./tests/pgtest/cmd -- go test ./...
package pgtest
