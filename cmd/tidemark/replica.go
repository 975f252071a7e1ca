package main

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/store"
)

func (s *Settings) checkReplica() error {
	switch {
	case s.ReplicaURL == "":
		return nil
	case !store.IsPostgres(s.ReplicaURL):
		return usagef("--replica-url must begin with postgres://")
	case !store.IsPostgres(s.DatabaseURL):
		return usagef("--replica-url is for PostgreSQL, and --database-url names none")
	}
	if u, err := url.Parse(s.ReplicaURL); err != nil || u.Host == "" && u.Query().Get("host") == "" {
		return usagef("--replica-url is not a valid postgres:// URL (special characters in the password must be %%-encoded)")
	}
	return nil
}

// openReplica returns what pages may be read from in place of the database, nil if there
// is nothing, and what closes it. One that is away is no error: it is passed by.
func openReplica(ctx context.Context, s *Settings, log *slog.Logger) (syncer.Replica, func(), error) {
	if s.ReplicaURL == "" {
		return nil, func() {}, nil
	}
	replica, err := store.OpenReplica(ctx, s.ReplicaURL, store.Options{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return replica, replica.Close, nil
}
