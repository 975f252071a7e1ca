package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/syncer/store"
)

// Settings is everything that can be set, each by a flag or by an environment
// variable; the flag wins. The zero values are never used: what has no default
// is off when it is empty.
type Settings struct {
	// Listen must be a loopback address as long as no auth is configured.
	Listen string `env:"TIDEMARK_LISTEN" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to listen on. Port 0 takes a free one; serve prints which."`

	// MetricsListen has no auth on any address.
	MetricsListen string `env:"TIDEMARK_METRICS_LISTEN" placeholder:"HOST:PORT" help:"Address of a listener of its own for /metrics and Go's /debug/pprof/, for the inside network only: it asks for no token. Default: /metrics is where everything is, for who has a token."`

	DatabaseURL string `name:"database-url" env:"TIDEMARK_DATABASE_URL" default:"sqlite:data/tidemark.db" placeholder:"URL" help:"sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE."`
	// MigrateMode says what serve does about the schema, MigrateURL where.
	MigrateMode string `name:"migrate" env:"TIDEMARK_MIGRATE" default:"auto" enum:"auto,check,off" help:"What a start does about the schema: auto brings it up, check refuses to start where it is behind, off leaves it to others and is not ready until they have."`
	MigrateURL  string `name:"migrate-url" env:"TIDEMARK_MIGRATE_URL" placeholder:"URL" help:"PostgreSQL for migrations only: past a pooler, or as another user. Default: --database-url."`

	UnsafeDurability bool `env:"TIDEMARK_UNSAFE_DURABILITY" help:"Accept a PostgreSQL with fsync=off or synchronous_commit=off. THIS LOSES ACKNOWLEDGED EDITS in a crash."`

	// ReplicaURL is not trusted: what is read there counts only as far as the database
	// itself vouches for it.
	ReplicaURL string `name:"replica-url" env:"TIDEMARK_REPLICA_URL" placeholder:"URL" help:"PostgreSQL standby, or a proxy in front of several, that pages beyond the newest changes are read from. Behind, away or of a lost history, it is passed by."`

	// Broker is how nodes tell each other of changes; empty means by database. What
	// a broker doesn't tell, each node finds in the database a little later.
	Broker string `env:"TIDEMARK_BROKER" placeholder:"KIND|URL" help:"How nodes hear of each other's changes: memory (one node; others' changes are found by looking), postgres or postgres://USER:PASSWORD@HOST/DATABASE (LISTEN/NOTIFY, by a URL of its own where the database's is a pooler's), nats://USER:PASSWORD@HOST/SUBJECT, redis://:PASSWORD@HOST/N, rediss://…, logical or logical:SLOT (PostgreSQL's logical replication). Default: postgres with PostgreSQL, memory with SQLite."`

	// AuthSecret or AuthJWKS turns authentication on.
	AuthSecret   string        `env:"TIDEMARK_AUTH_SECRET" placeholder:"SECRET" help:"Secret that tokens are signed with (HS256), at least 32 bytes."`
	AuthJWKS     string        `name:"auth-jwks" env:"TIDEMARK_AUTH_JWKS" placeholder:"URL|FILE" help:"JWK Set that tokens are signed with (RS256, ES256, EdDSA)."`
	AuthAudience string        `env:"TIDEMARK_AUTH_AUDIENCE" placeholder:"NAME" help:"Wanted in a token's aud. Without it a token that has one is refused."`
	AuthIssuer   string        `env:"TIDEMARK_AUTH_ISSUER" placeholder:"NAME" help:"Wanted in a token's iss."`
	AuthMaxTTL   time.Duration `name:"auth-max-ttl" env:"TIDEMARK_AUTH_MAX_TTL" default:"24h" help:"Longest lifetime of a token."`

	// Schemas and ValidationURL are the application's rules; both may be set.
	Schemas           string        `env:"TIDEMARK_SCHEMAS" placeholder:"DIR" help:"Folder with a JSON Schema for each collection that has rules: <collection>.json."`
	ValidationURL     string        `name:"validation-url" env:"TIDEMARK_VALIDATION_URL" placeholder:"URL" help:"Asked before edits of clients are applied. While it does not answer, no push is."`
	ValidationSecret  string        `env:"TIDEMARK_VALIDATION_SECRET" placeholder:"SECRET" help:"Secret that those questions are signed with: whsec_ and base64 of 24 to 64 bytes."`
	ValidationTimeout time.Duration `env:"TIDEMARK_VALIDATION_TIMEOUT" default:"2s" help:"How long an answer may take."`

	// WebhookURL is told which spaces have changed.
	WebhookURL    string        `name:"webhook-url" env:"TIDEMARK_WEBHOOK_URL" placeholder:"URL" help:"Told which spaces have changed: wake-ups for mobile push and the like."`
	WebhookSecret string        `env:"TIDEMARK_WEBHOOK_SECRET" placeholder:"SECRET" help:"Secret that wake-ups are signed with: whsec_ and base64 of 24 to 64 bytes."`
	WebhookGiveUp time.Duration `env:"TIDEMARK_WEBHOOK_GIVE_UP" default:"24h" help:"How long a wake-up is tried again before it is a dead letter."`

	CORSOrigins []string `name:"cors-origins" env:"TIDEMARK_CORS_ORIGINS" placeholder:"ORIGIN" help:"Origins whose pages may call, exactly: https://app.example.com."`

	TrustedProxies []string `env:"TIDEMARK_TRUSTED_PROXIES" placeholder:"ADDRESS|CIDR" help:"Proxies whose X-Forwarded-For is believed: 10.1.2.3, 10.0.0.0/8, fd00::/8."`

	// RateLimit is per subject and, for what comes without a good token, per address.
	RateLimit int `env:"TIDEMARK_RATE_LIMIT" default:"100" placeholder:"N" help:"Requests a second of one subject; 0 for any number. Without auth there is no limit."`

	LogLevel  string `env:"TIDEMARK_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat string `env:"TIDEMARK_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json."`

	Canary time.Duration `env:"TIDEMARK_CANARY" default:"15s" help:"How often each node writes a beat, by which all measure how soon they see what was written; 0 turns it off."`

	Retention time.Duration `env:"TIDEMARK_RETENTION" default:"720h" help:"How long a client may stay away without starting again."`

	TailMemory int `name:"tail-memory" env:"TIDEMARK_TAIL_MEMORY" default:"64" placeholder:"MIB" help:"Memory for the newest changes of active spaces, in MiB; pulls answered from it ask no database."`

	PollMin time.Duration `env:"TIDEMARK_POLL_MIN" default:"1s" help:"Shortest pause that clients are told to make between pulls."`
	PollMax time.Duration `env:"TIDEMARK_POLL_MAX" default:"5s" help:"Longest pause that clients are told to make between pulls."`

	DrainDelay time.Duration `env:"TIDEMARK_DRAIN_DELAY" default:"0s" help:"How long to go on after SIGTERM while /readyz says 503, so that whoever sends requests here learns of it. 5s in Kubernetes."`
}

// maxRateLimit is more than a node can answer.
const maxRateLimit = 1_000_000

// maxDrainDelay is longer than any balancer needs to notice; whoever waits for the
// process to end has less patience.
const maxDrainDelay = 5 * time.Minute

// development reports whether no authentication is configured.
func (s *Settings) development() bool { return s.AuthSecret == "" && s.AuthJWKS == "" }

// check returns what is wrong with the settings, in one sentence.
func (s *Settings) check() error {
	for _, check := range []func() error{
		s.checkListen, s.checkMetricsListen, s.checkDatabase, s.checkReplica, s.checkBroker, s.checkAuth, s.checkRules, s.checkWebhook, s.checkOrigins, s.checkProxies, s.checkAmounts,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) checkListen() error {
	_, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return usagef("--listen must be HOST:PORT, like 127.0.0.1:8080, not %q", s.Listen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usagef("--listen: %q is no port (0 to 65535)", port)
	} else if s.development() && !api.Loopback(s.Listen) {
		return usagef("--listen %s is not a loopback address, and without auth everybody who can connect could read and write everything: set --auth-secret or --auth-jwks, or listen on 127.0.0.1:%d", s.Listen, n)
	}
	return nil
}

func (s *Settings) checkMetricsListen() error {
	if s.MetricsListen == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s.MetricsListen)
	if err != nil {
		return usagef("--metrics-listen must be HOST:PORT, like 127.0.0.1:9090, not %q", s.MetricsListen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return usagef("--metrics-listen: %q is no port (0 to 65535)", port)
	} else if s.MetricsListen == s.Listen && n != 0 {
		return usagef("--metrics-listen must be another address than --listen; without it /metrics is there")
	}
	return nil
}

func (s *Settings) checkDatabase() error {
	if s.MigrateURL != "" {
		if err := checkPostgresURL("--migrate-url", s.MigrateURL); err != nil {
			return err
		} else if !store.IsPostgres(s.DatabaseURL) {
			return usagef("--migrate-url is for PostgreSQL, and --database-url names none")
		}
	}
	if _, ok := store.SQLitePath(s.DatabaseURL); ok {
		return nil
	}
	if !store.IsPostgres(s.DatabaseURL) {
		return usagef("--database-url must begin with sqlite: or postgres://")
	}
	return checkPostgresURL("--database-url", s.DatabaseURL)
}

func checkPostgresURL(flag, text string) error {
	// What url.Parse says repeats the URL, password and all.
	if u, err := url.Parse(text); err != nil || !store.IsPostgres(text) || u.Host == "" && u.Query().Get("host") == "" {
		return usagef("%s is not a valid postgres:// URL (special characters in the password must be %%-encoded)", flag)
	}
	return nil
}

// migrateURL is where migrations are carried out.
func (s *Settings) migrateURL() string { return cmp.Or(s.MigrateURL, s.DatabaseURL) }

func (s *Settings) checkAuth() error {
	switch {
	case s.AuthSecret != "" && s.AuthJWKS != "":
		return usagef("set --auth-secret or --auth-jwks, not both")
	case s.AuthSecret != "" && len(s.AuthSecret) < auth.MinSecretBytes:
		return usagef("--auth-secret has %d bytes; HS256 needs at least %d (make one with: openssl rand -base64 32)", len(s.AuthSecret), auth.MinSecretBytes)
	case s.development() && (s.AuthAudience != "" || s.AuthIssuer != ""):
		return usagef("--auth-audience and --auth-issuer mean nothing without --auth-secret or --auth-jwks")
	case s.AuthMaxTTL <= 0:
		return usagef("--auth-max-ttl must be longer than nothing")
	}
	return nil
}

func (s *Settings) checkOrigins() error {
	for _, origin := range s.CORSOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || strings.ContainsAny(origin, "*?") || u.Scheme+"://"+u.Host != origin {
			return usagef("--cors-origins: %q is not an origin; write it as browsers do, like https://app.example.com, without path or pattern", origin)
		}
	}
	return nil
}

func (s *Settings) checkProxies() error {
	_, err := s.trustedProxies()
	return err
}

// trustedProxies reads the list; an address is a network of one.
func (s *Settings) trustedProxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range s.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if address, addressErr := netip.ParseAddr(text); addressErr == nil && address.Zone() == "" {
			prefix, err = address.Prefix(address.BitLen())
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, usagef("--trusted-proxies: %q is neither an address nor a network, like 10.1.2.3 or 10.0.0.0/8", text)
		}
		list = append(list, prefix)
	}
	return list, nil
}

func (s *Settings) checkAmounts() error {
	switch {
	case s.RateLimit < 0 || s.RateLimit > maxRateLimit:
		return usagef("--rate-limit must be between 0 (any number) and %d requests a second", maxRateLimit)
	case s.Canary != 0 && s.Canary < time.Second:
		return usagef("--canary must be at least 1s, or 0 to turn it off")
	case s.Retention <= 0:
		return usagef("--retention must be longer than nothing")
	case s.TailMemory <= 0:
		return usagef("--tail-memory must be at least 1 (MiB)")
	case s.DrainDelay < 0 || s.DrainDelay > maxDrainDelay:
		return usagef("--drain-delay must be between 0s and %s", maxDrainDelay)
	case s.PollMin <= 0:
		return usagef("--poll-min must be longer than nothing")
	case s.PollMax < s.PollMin:
		return usagef("--poll-max (%s) must not be shorter than --poll-min (%s)", s.PollMax, s.PollMin)
	}
	return nil
}

// logger returns a logger that writes as the settings say.
func (s *Settings) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo // unreachable: kong holds it to the enum
	}
	opts := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// authOptions say which tokens are good.
func (s *Settings) authOptions() auth.Options {
	return auth.Options{
		Secret:   s.AuthSecret,
		JWKS:     s.AuthJWKS,
		Audience: s.AuthAudience,
		Issuer:   s.AuthIssuer,
		MaxTTL:   s.AuthMaxTTL,
	}
}

// verifier returns what checks tokens, nil in development.
func (s *Settings) verifier(ctx context.Context, log *slog.Logger) (*auth.Verifier, error) {
	if s.development() {
		return nil, nil
	}
	opts := s.authOptions()
	opts.OnRefreshError = func(err error) { log.WarnContext(ctx, "JWK Set not fetched", "error", err) }
	v, err := auth.New(ctx, opts)
	if err != nil {
		return nil, usageError{err}
	}
	return v, nil
}
