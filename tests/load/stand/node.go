package stand

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/tests/process"
)

// Secret signs the tokens of the bench's own nodes.
var Secret = rand.Text() + rand.Text()

// NodeOptions say which node to start.
type NodeOptions struct {
	DatabaseURL string // empty: a new SQLite file
	Args        []string
	// CountsPeak: the node's peak of memory goes into Stand.Peak.
	CountsPeak bool
}

// Node starts a node of Tidemark with authentication on, and waits until it is ready.
func (s *Stand) Node(ctx context.Context, options NodeOptions) (*Process, error) {
	s.nodes++
	if options.DatabaseURL == "" {
		dir := filepath.Join(s.dir, fmt.Sprintf("sqlite-%d", s.nodes))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		options.DatabaseURL = "sqlite:" + filepath.Join(dir, "tidemark.db")
	}
	command := exec.Command(s.binary, append([]string{"serve", "--log-level", "warn"}, options.Args...)...)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TIDEMARK_") {
			command.Env = append(command.Env, entry)
		}
	}
	command.Env = append(command.Env, "TIDEMARK_LISTEN=127.0.0.1:0", "TIDEMARK_AUTH_SECRET="+Secret, "TIDEMARK_RATE_LIMIT=0",
		"TIDEMARK_DATABASE_URL="+options.DatabaseURL)
	p, err := s.start(ctx, command, "tidemark")
	if err != nil {
		return nil, err
	}
	p.countsPeak, p.DatabaseURL = options.CountsPeak, options.DatabaseURL
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := process.AwaitReady(ctx, p.URL, p.Exited); err != nil {
		return nil, errors.Join(fmt.Errorf("the node: %w\n%s", err, p.logTail()), p.Stop())
	}
	return p, nil
}

// PostgresNode starts a node on a fresh database that goes with it.
func (s *Stand) PostgresNode(ctx context.Context, options NodeOptions) (*Process, error) {
	postgres, err := s.Postgres(ctx)
	if err != nil {
		return nil, err
	}
	databaseURL, drop, err := postgres.Database(ctx)
	if err != nil {
		return nil, err
	}
	options.DatabaseURL = databaseURL
	p, err := s.Node(ctx, options)
	if err != nil {
		return nil, errors.Join(err, drop())
	}
	p.after = drop
	return p, nil
}

// Token signs a token for all spaces, good for the length of a bench.
func Token(secret, subject string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": subject, "iat": now.Unix(), "exp": now.Add(6 * time.Hour).Unix(),
		"spaces": map[string]string{"*": "rw"},
	}).SignedString([]byte(secret))
}
