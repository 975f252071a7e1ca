package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Where a standby must confirm commits, a COMMIT waits for it. If somebody cancels that
// wait the server answers COMMIT all the same, with a warning before it: the transaction
// is on its own disk, and will be lost if another server takes its place.

// waitForStandby is the routine that warns; what it says is in the server's language.
const waitForStandby = "SyncRepWaitForLSN"

// unconfirmed is where a connection keeps that it was warned.
const unconfirmed = "tidemark: unconfirmed"

// errUnconfirmed is an unknown outcome: a retry is answered from the receipts, once a
// standby has them.
var errUnconfirmed = errors.New("committed, but no standby has confirmed it")

func notice(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == waitForStandby {
		conn.CustomData()[unconfirmed] = true
	}
}

// forgetWarning is called before a COMMIT.
func forgetWarning(conn *pgconn.PgConn) { delete(conn.CustomData(), unconfirmed) }

// confirmed is asked after a COMMIT.
func confirmed(conn *pgconn.PgConn) error {
	if conn.CustomData()[unconfirmed] == nil {
		return nil
	}
	delete(conn.CustomData(), unconfirmed)
	return errUnconfirmed
}
