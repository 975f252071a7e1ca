package main

import "testing"

func TestSettings_broker(t *testing.T) {
	t.Parallel()
	const sqlite, pg = "sqlite:x.db", "postgres://u:p@h/d"
	for _, test := range []struct {
		database, setting string
		want              string // "" if it is refused
	}{
		{sqlite, "", "memory"},
		{pg, "", "postgres"},
		{"postgresql://h/d", "", "postgres"},
		{sqlite, "memory", "memory"},
		{pg, "memory", "memory"}, // one node, and it says so
		{pg, "postgres", "postgres"},
		{sqlite, "postgres", ""},
	} {
		s := &Settings{DatabaseURL: test.database, Broker: test.setting}
		err := s.checkBroker()
		if got := s.broker(); test.want == "" && err == nil || test.want != "" && (err != nil || got != test.want) {
			t.Errorf("%s with %q: %s, %v; want %q", test.database, test.setting, got, err, test.want)
		}
	}
}
