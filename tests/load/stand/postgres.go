package stand

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/tests/pgtest"
)

// Postgres is a PostgreSQL server with its default settings: what is
// acknowledged is on disk.
type Postgres struct {
	Version   string
	server    *pgtest.Server
	databases atomic.Int64
}

// Postgres starts the server when it is asked for the first time. It is always
// one of the bench's own, whatever TIDEMARK_TEST_DATABASE_URL names: processor
// time is read from its processes.
func (s *Stand) Postgres(ctx context.Context) (*Postgres, error) {
	if s.postgres != nil {
		return s.postgres, nil
	}
	server, err := pgtest.Launch() //nolint:contextcheck // the server outlives who asks for it first
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: server}
	if err := p.checkSettings(ctx); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	s.postgres = p
	return p, nil
}

// checkSettings refuses a server that is fast because it forgets.
func (p *Postgres) checkSettings(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.server.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return err
		}
		if value != "on" {
			return fmt.Errorf("PostgreSQL runs with %s=%s: its figures would mean nothing", setting, value)
		}
	}
	return conn.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&p.Version)
}

// PID is the postmaster's process id.
func (p *Postgres) PID() int { return p.server.PID() }

// Database makes an empty database, and the function that drops it. A fresh one
// for every run: else the later runs would be measured on larger tables.
func (p *Postgres) Database(ctx context.Context) (databaseURL string, drop func() error, err error) {
	name := fmt.Sprintf("bench_%d_%d", os.Getpid(), p.databases.Add(1))
	if err := p.execute(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", nil, err
	}
	at, err := url.Parse(p.server.AdminURL())
	if err != nil {
		return "", nil, err
	}
	at.Path = "/" + name
	return at.String(), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return p.execute(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}, nil
}

// Checkpoint writes out what earlier runs left to write, so that each begins
// with the same debt.
func (p *Postgres) Checkpoint(ctx context.Context) error { return p.execute(ctx, "CHECKPOINT") }

func (p *Postgres) execute(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.server.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err = conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", strings.Fields(statement)[0], err)
	}
	return nil
}
