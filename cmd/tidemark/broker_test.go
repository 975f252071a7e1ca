package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/syncer"
)

func TestSettings_broker(t *testing.T) {
	t.Parallel()
	const sqlite, pg = "sqlite:x.db", "postgres://u:p@h/d"
	for _, test := range []struct {
		database, setting string
		kind, rest        string // kind "" if it is refused
	}{
		{sqlite, "", "memory", ""},
		{pg, "", "postgres", ""},
		{"postgresql://h/d", "", "postgres", ""},
		{sqlite, "memory", "memory", ""},
		{pg, "memory", "memory", ""},
		{pg, "postgres", "postgres", ""},
		{pg, "postgres://u:p@direct/d", "postgres", "//u:p@direct/d"},
		{pg, "postgresql://u:p@direct/d", "postgresql", "//u:p@direct/d"},
		{pg, "logical", "logical", ""},
		{pg, "logical:node_1", "logical", "node_1"},
		{sqlite, "nats://h:4222", "nats", "//h:4222"},
		{pg, "nats://u:p@a,nats://u:p@b/subject", "nats", "//u:p@a,nats://u:p@b/subject"},
		{pg, "redis://:p@h/1", "redis", "//:p@h/1"},
		{pg, "rediss://h", "rediss", "//h"},
		{sqlite, "postgres", "", ""},
		{sqlite, "logical", "", ""},
		{pg, "logical:", "", ""},
		{pg, "logical:Node-1", "", ""},
		{pg, "memory:", "", ""},
		{sqlite, "postgres://u:hush@h/d", "", ""},
		{pg, "postgres:///d?password=hush", "", ""},
		{pg, "postgres://u:hu%sh@h/d", "", ""},
		{pg, "postgres:hush", "", ""},
		{pg, "nats", "", ""},
		{pg, "nats://u:hush@h/a b", "", ""},
		{pg, "redis://u:hush@h/x", "", ""},
		{pg, "kafka://u:hush@h", "", ""},
	} {
		s := &Settings{DatabaseURL: test.database, Broker: test.setting}
		err := s.checkBroker()
		switch kind, rest := s.broker(); {
		case test.kind == "":
			if err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s with %q: %v", test.database, test.setting, err)
			}
		case err != nil || kind != test.kind || rest != test.rest:
			t.Errorf("%s with %q: %s, %s, %v", test.database, test.setting, kind, rest, err)
		}
	}
}

func TestRedactBroker(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"memory":                  "memory",
		"logical:node1":           "logical:node1",
		"redis://:hush@h:6379/1":  "redis://:xxxxx@h:6379/1",
		"nats://u:hush@h/subject": "nats://u:xxxxx@h/subject",
		"nats://hush@h":           "nats://xxxxx@h",
		"nats://u:hush@a,nats://b,nats://hush@c/s": "nats://u:xxxxx@a,nats://b,nats://xxxxx@c/s",
	} {
		if got := redactBroker(setting); got != want {
			t.Errorf("%s is shown as %s, want %s", setting, got, want)
		}
	}
}

// A server must start while its broker's network is away: nodes find changes in the
// database, only later.
func TestOpenBroker_away(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"", "memory", "nats://127.0.0.1:1", "redis://127.0.0.1:1", "rediss://127.0.0.1:1"} {
		s := &Settings{DatabaseURL: "postgres://u:p@127.0.0.1:1/d", Broker: setting}
		b, closeBroker, err := openBroker(t.Context(), s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%q: %v", setting, err)
			continue
		}
		if err := b.Publish(t.Context(), syncer.Message{Space: "home", Version: 1}); err != nil {
			t.Errorf("%q: publish: %v", setting, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx, func(syncer.Message) {}) }()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%q: run: %v", setting, err)
		}
		if err := closeBroker(); err != nil {
			t.Errorf("%q: close: %v", setting, err)
		}
	}
}
