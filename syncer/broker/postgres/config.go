package postgres

import (
	"context"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout bounds an attempt to connect; a shorter one in the URL counts.
const connectTimeout = 5 * time.Second

// sessionSettings are set on every connection, whatever the URL says: a
// connection that listens is idle for ever, and must not be ended for that. The
// keepalives are the server's, so that it forgets a listener whose machine is gone.
var sessionSettings = map[string]string{
	"application_name":        "tidemark-broker",
	"statement_timeout":       "0",
	"idle_session_timeout":    "0",
	"tcp_keepalives_idle":     "15",
	"tcp_keepalives_interval": "5",
	"tcp_keepalives_count":    "3",
}

// Config returns how brokers connect to the database that url names; it may have
// the pool's parameters, like the store's URL.
func Config(url string) (*pgx.ConnConfig, error) {
	pool, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	config := pool.ConnConfig
	maps.Copy(config.RuntimeParams, sessionSettings)
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	if config.ValidateConnect == nil {
		// A standby can neither notify nor listen.
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// HangUp closes a connection, politely if the server answers soon.
func HangUp(ctx context.Context, conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // of no use to us any more, whatever it says
	// After a statement that was cut off the driver clears up in the background.
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
	}
}
