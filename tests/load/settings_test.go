package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSettings_chosen(t *testing.T) {
	t.Parallel()
	for only, want := range map[string][]string{
		"idle":                         {"idle"},
		"memory,idle,idle":             {"idle", "memory"},
		"crossnode":                    {"crossnode-notify", "crossnode-nats"},
		"push-1-space-batch-10,delta":  {"push-1-space-batch-10", "delta"},
		"streams,streams10k,push-lone": {"push-lone", "streams-1000", "streams-10000"},
	} {
		settings := Settings{Only: strings.Split(only, ",")}
		cases, err := settings.chosen()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range cases {
			got = append(got, c.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", only, diff)
		}
	}
	settings := Settings{Only: []string{"idel"}}
	if _, err := settings.chosen(); err == nil || !strings.Contains(err.Error(), "push-lone") {
		t.Errorf("a name that is none is answered with %v, want what there is", err)
	}
}

func TestSettings_check(t *testing.T) {
	t.Parallel()
	good := Settings{Rounds: 1, Duration: time.Second}
	if err := good.check(); err != nil || !strings.HasPrefix(good.Prefix, "bench-") {
		t.Errorf("good settings: %v, prefix %q", err, good.Prefix)
	}
	for _, bad := range []Settings{
		{Duration: time.Second},
		{Rounds: 1},
		{Rounds: 1, Duration: time.Hour},
		{Rounds: 1, Duration: time.Second, Limits: true, Publish: true, Only: []string{"idle"}},
		{Rounds: 1, Duration: time.Second, Limits: true, Publish: true, URL: []string{"http://sync.example"}},
		{Rounds: 1, Duration: time.Second, Publish: true},
	} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v passed", bad)
		}
	}
}
