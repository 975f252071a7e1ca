package syncer_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/syncer"
)

func TestMessage_Encode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		message syncer.Message
		want    string
	}{
		{syncer.Message{}, `{"space":""}`},
		{syncer.Message{Space: "home"}, `{"space":"home"}`},
		{syncer.Message{Space: "_canary"}, `{"space":"_canary"}`},
		{syncer.Message{Space: "home", Version: 1<<53 - 1}, `{"space":"home","version":9007199254740991}`},
		{syncer.Message{Space: "home", Presence: json.RawMessage(`{"a":"<&>"}`)}, `{"space":"home","presence":{"a":"<&>"}}`},
		{syncer.Message{Space: "home", Presence: json.RawMessage(`null`)}, `{"space":"home","presence":null}`},
	} {
		text, err := test.message.Encode()
		if err != nil || string(text) != test.want {
			t.Errorf("%v: %s, %v; want %s", test.message, text, err, test.want)
		}
		if back, err := syncer.ParseMessage(text); err != nil || !cmp.Equal(test.message, back) {
			t.Errorf("%s was read as %v, %v", text, back, err)
		}
	}
	for name, presence := range map[string]string{
		"too large": `"` + strings.Repeat("x", syncer.MaxMessageBytes) + `"`,
		"not JSON":  `{`,
	} {
		if text, err := (syncer.Message{Space: "home", Presence: json.RawMessage(presence)}).Encode(); err == nil {
			t.Errorf("%s: encoded as %.100s", name, text)
		}
	}
}

func TestParseMessage_refused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":          ``,
		"not JSON":         `home`,
		"an array":         `[]`,
		"bad space":        `{"space":"a b"}`,
		"own space":        `{"space":"_other"}`,
		"space a number":   `{"space":1}`,
		"negative version": `{"space":"home","version":-1}`,
		"fraction":         `{"space":"home","version":1.5}`,
		"too large":        `{"space":"home","presence":"` + strings.Repeat("x", syncer.MaxMessageBytes) + `"}`,
	} {
		if m, err := syncer.ParseMessage([]byte(text)); err == nil || !cmp.Equal(syncer.Message{}, m) {
			t.Errorf("%s: read as %.100v, %v", name, m, err)
		}
	}
}

// What somebody publishes by hand may hold names of later versions.
func TestParseMessage_unknownName(t *testing.T) {
	t.Parallel()
	m, err := syncer.ParseMessage([]byte(` {"space": "home", "color": "blue"} `))
	if err != nil || !cmp.Equal(syncer.Message{Space: "home"}, m) {
		t.Errorf("%v, %v", m, err)
	}
}

// Whatever comes over the network is refused, or can be sent on.
func FuzzParseMessage(f *testing.F) {
	for _, text := range []string{`{"space":"home","version":7}`, `{"space":"","presence":{"a":[1,"<"]}}`, `{"presence":null}`, `{}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := syncer.ParseMessage(text)
		if err != nil {
			return
		}
		encoded, err := m.Encode()
		if err != nil {
			// Invalid UTF-8 grows by its replacement, and omitted names come back.
			if len(text) < syncer.MaxMessageBytes/3 {
				t.Fatalf("%q: read as %v, which can't be encoded: %v", text, m, err)
			}
			return
		}
		if again, err := syncer.ParseMessage(encoded); err != nil || again.Space != m.Space || again.Version != m.Version || again.IsPoke() != m.IsPoke() {
			t.Fatalf("%q: read as %v, encoded as %q, read as %v, %v", text, m, encoded, again, err)
		}
	})
}
