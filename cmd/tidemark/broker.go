package main

import (
	"context"
	"log/slog"
	"net/url"
	"strings"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/broker/logical"
	"github.com/tidemark/tidemark/syncer/broker/memory"
	"github.com/tidemark/tidemark/syncer/broker/nats"
	"github.com/tidemark/tidemark/syncer/broker/postgres"
	"github.com/tidemark/tidemark/syncer/broker/redis"
	"github.com/tidemark/tidemark/syncer/store"
)

// broker returns which broker the settings choose, and what follows its kind: a
// URL's rest, a slot's name. Without --broker it is the one that goes with the
// database.
func (s *Settings) broker() (kind, rest string) {
	if s.Broker == "" && store.IsPostgres(s.DatabaseURL) {
		return "postgres", ""
	} else if s.Broker == "" {
		return "memory", ""
	}
	kind, rest, _ = strings.Cut(s.Broker, ":")
	return kind, rest
}

func (s *Settings) checkBroker() error {
	kind, rest := s.broker()
	alone := s.Broker == "" || s.Broker == kind
	switch {
	case kind == "nats":
		return asUsage(nats.CheckURL(s.Broker))
	case kind == "redis", kind == "rediss":
		return asUsage(redis.CheckURL(s.Broker))
	case kind == "memory" && alone:
		return nil
	case store.IsPostgres(s.Broker) && !hasHost(s.Broker):
		return usagef("--broker is not a valid postgres:// URL (special characters in the password must be %%-encoded)")
	case kind != "postgres" && kind != "logical" && !store.IsPostgres(s.Broker):
		return usagef("--broker must be memory, postgres, logical, logical:SLOT, or a URL that begins with postgres://, nats://, redis:// or rediss://")
	case !store.IsPostgres(s.DatabaseURL):
		return usagef("--broker %s needs a PostgreSQL database; an SQLite file has one node, and its broker is memory", kind)
	case kind == "logical" && !alone:
		return asUsage(logical.CheckSlot(rest))
	case !alone && !store.IsPostgres(s.Broker):
		return usagef("--broker postgres takes a URL or nothing: postgres://USER:PASSWORD@HOST/DATABASE")
	}
	return nil
}

func hasHost(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Host != "" || u.Query().Get("host") != "")
}

// listenURL is where LISTEN and NOTIFY go: past a pooler that gives each transaction
// another connection, if the broker is a URL.
func (s *Settings) listenURL() string {
	if store.IsPostgres(s.Broker) {
		return s.Broker
	}
	return s.DatabaseURL
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usagef("--broker: %w", err)
}

// openBroker returns the broker that the settings choose and what closes it. A
// network that is away is no error: the broker goes on trying.
func openBroker(ctx context.Context, s *Settings, log *slog.Logger) (syncer.Broker, func() error, error) {
	kind, rest := s.broker()
	switch kind {
	case "nats":
		b, err := nats.New(ctx, s.Broker, nats.Options{Logger: log})
		return opened(b, err)
	case "redis", "rediss":
		b, err := redis.New(ctx, s.Broker, redis.Options{Logger: log})
		return opened(b, err)
	case "postgres", "postgresql":
		b, err := postgres.New(ctx, s.listenURL(), postgres.Options{Logger: log})
		return opened(b, err)
	case "logical":
		return openLogical(ctx, s.DatabaseURL, logical.Options{Slot: rest, Logger: log})
	default:
		return memory.New(), func() error { return nil }, nil
	}
}

// openLogical takes LISTEN/NOTIFY for presence.
func openLogical(ctx context.Context, databaseURL string, opts logical.Options) (syncer.Broker, func() error, error) {
	inner, err := postgres.New(ctx, databaseURL, postgres.Options{Logger: opts.Logger})
	if err != nil {
		return nil, nil, err
	}
	b, err := logical.Open(ctx, databaseURL, inner, opts)
	if err != nil {
		_ = inner.Close()
		return nil, nil, err
	}
	return b, inner.Close, nil
}

func opened[B interface {
	syncer.Broker
	Close() error
}](b B, err error) (syncer.Broker, func() error, error) {
	if err != nil {
		return nil, nil, err
	}
	return b, b.Close, nil
}

// redactBroker hides the secrets in a broker's URL. Of NATS it may name several
// servers. A user without a password is a token there.
func redactBroker(text string) string {
	parts := []string{text}
	if strings.HasPrefix(text, "nats://") {
		parts = strings.Split(text, ",") // a Redis password may hold one
	}
	for i, part := range parts {
		if u, err := url.Parse(part); err == nil && u.User != nil {
			if _, hasPassword := u.User.Password(); !hasPassword {
				u.User = url.User("xxxxx")
				part = u.String()
			}
		}
		parts[i] = redact(part)
	}
	return strings.Join(parts, ",")
}
