package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/guard"
	"github.com/tidemark/tidemark/syncer/presence"
	"github.com/tidemark/tidemark/syncer/store"
)

// shutdownTimeout is how long requests may still run after SIGTERM. Long polls
// end at once, so in practice it is milliseconds.
const shutdownTimeout = 25 * time.Second

// termsEvery is how soon metrics tell that a failover has brought a database with other
// settings: one small query.
const termsEvery = time.Minute

type serveCommand struct{}

// Run serves until SIGINT or SIGTERM.
func (serveCommand) Run(s *Settings, known variables, out output) error {
	if err := errors.Join(known.check(), s.check()); err != nil {
		return err
	}
	tuneCollector(s.TailMemory)
	log := s.logger(out.stderr)
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	traces, err := openTracing(ctx, log)
	if err != nil {
		return err
	}
	defer traces.close(log)
	verifier, err := s.verifier(ctx, log)
	if err != nil {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	metrics := api.NewRegistry()
	shown, err := listenForMetrics(ctx, s, metrics, log)
	if err != nil {
		return err
	}
	defer shown.close()
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // again, if the server has
	database, closeDatabase, err := openDatabase(ctx, s, traces, log)
	if err != nil {
		return err
	}
	defer closeDatabase()
	metrics.MustRegister(database.Metrics()...)
	directory, err := openDirectory(ctx, s, database, verifier, log)
	if err != nil {
		return err
	}

	replica, closeReplica, err := openReplica(ctx, s, log)
	if err != nil {
		return err
	}
	defer closeReplica()
	broker, closeBroker, err := openBroker(ctx, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = closeBroker() }() // nobody is left to hear what it could not send

	wakeups, err := s.startWakeups(database, metrics, log)
	if err != nil {
		return err
	}
	defer wakeups.close() // when the engine has committed its last

	registry := presence.New(broker, presence.Options{})
	engine := newEngine(s, database, replica, broker, registry, rules, wakeups, traces)
	defer engine.Close()
	server, err := newServer(s, engine, registry, verifier, metrics, traces, log)
	if err != nil {
		return err
	}
	defer server.Wait() // for streams, which end when the engine drains
	greet(out.stdout, s, "http://"+listener.Addr().String(), shown.url)
	httpServer := server.HTTPServer()
	httpServer.Handler = traces.wrap(httpServer.Handler)
	n := node{
		database: database, engine: engine, registry: registry, directory: directory, api: server, server: httpServer,
		listener: api.Listener(listener), drainDelay: s.DrainDelay, log: log,
	}
	return n.run(ctx, stop)
}

const (
	// gcPercent is GOGC unless that is set: most of the heap is what one request
	// needs, so collecting it at twice its size is work for little memory.
	gcPercent = 400
	// memoryBase and twice the tails are GOMEMLIMIT unless that is set, in MiB. The
	// tails stay, and without a limit they would be allowed four times their size
	// of garbage. It must be well above what can be in use, with all streams that
	// a node may have, or the collector would never rest.
	memoryBase = 256
)

// tuneCollector sets the limits of Go's collector that the environment doesn't.
func tuneCollector(tailMemory int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit((memoryBase + 2*int64(tailMemory)) << 20)
	}
}

func newEngine(s *Settings, database *store.Store, replica syncer.Replica, broker syncer.Broker, registry *presence.Registry, rules rules, wakeups wakeups, traces *tracing) *syncer.Engine {
	return syncer.New(database, broker, syncer.Options{
		PollMin:    s.PollMin,
		PollMax:    s.PollMax,
		Retention:  s.Retention,
		Committers: committers(s.DatabaseURL),
		TailMemory: s.TailMemory << 20,
		Canary:     s.Canary,
		Rules:      rules.documents,
		Validator:  rules.edits,
		Replica:    replica,
		OnPresence: registry.Receive,
		OnChange:   wakeups.changed,
		Tracer:     traces.engine(),
	})
}

// openDirectory returns what knows API keys and revocations, nil in development.
func openDirectory(ctx context.Context, s *Settings, database *store.Store, verifier *auth.Verifier, log *slog.Logger) (*auth.Directory, error) {
	if verifier == nil {
		return nil, nil
	}
	directory, err := auth.OpenDirectory(ctx, database, auth.DirectoryOptions{
		MaxTTL: s.AuthMaxTTL, Logger: log, Later: s.MigrateMode == migrateOff,
	})
	if err == nil {
		verifier.Consult(directory)
	}
	return directory, err
}

func newServer(s *Settings, engine *syncer.Engine, registry *presence.Registry, verifier *auth.Verifier, metrics *prometheus.Registry, traces *tracing, log *slog.Logger) (*api.Server, error) {
	proxies, err := s.trustedProxies()
	if err != nil {
		return nil, err
	}
	return api.New(api.Options{
		Engine:         engine,
		Presence:       registry,
		Verifier:       verifier,
		Logger:         log,
		TraceID:        traces.traceID(),
		CORSOrigins:    s.CORSOrigins,
		TrustedProxies: proxies,
		RateLimit:      s.RateLimit,
		Registry:       metrics,

		MetricsElsewhere: s.MetricsListen != "",

		Version:   currentVersion(),
		Retention: s.Retention,
		PollMin:   s.PollMin,
		PollMax:   s.PollMax,
	})
}

// committers is how many transactions may carry out pushes at a time: two keep a
// PostgreSQL busy while one of them waits for the disk, SQLite has one writer.
func committers(databaseURL string) int {
	if store.IsPostgres(databaseURL) {
		return 2
	}
	return 1
}

// node is what runs.
type node struct {
	database  *store.Store
	engine    *syncer.Engine
	registry  *presence.Registry
	directory *auth.Directory // nil in development
	api       *api.Server
	server    *http.Server
	listener  net.Listener
	log       *slog.Logger
	// drainDelay is how long the node goes on after it has said that it leaves.
	drainDelay time.Duration
}

// run runs until ctx ends or a part of the node fails, then lets what is running
// come to its end. stop gives signals their usual meaning back, so that a second
// one ends the process at once.
func (n *node) run(ctx context.Context, stop func()) error {
	// What runs must outlive ctx: it has to finish when that ends.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait() // the engine may be in a commit, and its database is closed next
	defer end()
	all := []func() error{
		func() error { return n.engine.Run(running) },
		func() error { return n.registry.Run(running) },
		func() error { return n.database.Count(running, n.log) },
		func() error { return n.database.WatchTerms(running, termsEvery, n.log) },
		func() error { return n.server.Serve(n.listener) },
	}
	if n.directory != nil {
		all = append(all, func() error { return n.directory.Run(running) })
	}
	failed := make(chan error, len(all))
	for _, part := range all {
		parts.Go(func() { failed <- guard.Call(part) }) // a part that can't go on ends the node, in order
	}

	var failure error
	select {
	case failure = <-failed:
	case <-ctx.Done():
		n.log.InfoContext(ctx, "shutting down", "drain_delay", n.drainDelay.String())
		stop() // a second signal ends the delay, and everything
		failure = n.leave(failed)
	}
	stop()
	n.engine.Drain()
	timeout, cancel := context.WithTimeout(running, shutdownTimeout)
	defer cancel()
	if err := n.server.Shutdown(timeout); err != nil {
		return errors.Join(failure, fmt.Errorf("requests were cut off after %s: %w", shutdownTimeout, err))
	}
	return failure
}

// leave says that the node is not ready, and goes on for the delay, or until a part
// fails.
func (n *node) leave(failed <-chan error) error {
	n.api.Leave()
	delay := time.NewTimer(n.drainDelay)
	defer delay.Stop()
	select {
	case err := <-failed:
		return err
	case <-delay.C:
		return nil
	}
}
