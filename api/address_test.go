package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.7/32")}
	for _, test := range []struct {
		name      string
		peer      string
		forwarded []string
		want      string
	}{
		{"no proxy", "203.0.113.9:4711", nil, "203.0.113.9"},
		{"no proxy, v6", "[2001:db8::9]:4711", nil, "2001:db8::9"},
		{"v4 in v6", "[::ffff:203.0.113.9]:4711", nil, "203.0.113.9"},
		{"a zone", "[fe80::9%eth0]:4711", nil, "fe80::9"},
		{"spoofed by a stranger", "203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9"},
		{"spoofed by a neighbor", "192.168.0.5:4711", []string{"198.51.100.1"}, "192.168.0.5"},
		{"spoofed on this machine", "127.0.0.1:4711", []string{"198.51.100.1"}, "127.0.0.1"},
		{"one proxy", "10.1.1.1:80", []string{"203.0.113.9"}, "203.0.113.9"},
		{"one proxy, v6", "[fd00::1]:80", []string{"2001:db8::9"}, "2001:db8::9"},
		{"v4 in v6 all along", "[::ffff:10.1.1.1]:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"one proxy that says nothing", "10.1.1.1:80", nil, "10.1.1.1"},
		{"one proxy that says nothing, in words", "10.1.1.1:80", []string{""}, "10.1.1.1"},
		{"spoofed before the proxy", "10.1.1.1:80", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"spoofed as a proxy", "10.1.1.1:80", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.1.1.1:80", []string{"198.51.100.1, 203.0.113.9 ,192.0.2.7"}, "203.0.113.9"},
		{"two headers", "10.1.1.1:80", []string{"198.51.100.1", "203.0.113.9,10.2.2.2"}, "203.0.113.9"},
		{"two headers, the last a proxy's own", "10.1.1.1:80", []string{"198.51.100.1,203.0.113.9", "10.2.2.2"}, "203.0.113.9"},
		{"only proxies", "10.1.1.1:80", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"a port", "10.1.1.1:80", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"a port, v6", "10.1.1.1:80", []string{"[2001:db8::9]:4711"}, "2001:db8::9"},
		{"brackets", "10.1.1.1:80", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"rubbish", "10.1.1.1:80", []string{"unknown"}, "10.1.1.1"},
		{"rubbish before an address", "10.1.1.1:80", []string{"\x00;--, 203.0.113.9"}, "203.0.113.9"},
		{"rubbish before a proxy", "10.1.1.1:80", []string{"203.0.113.9, ?, 10.2.2.2"}, "10.2.2.2"},
		{"commas", "10.1.1.1:80", []string{",,"}, "10.1.1.1"},
		{"very many", "10.1.1.1:80", []string{"203.0.113.9" + strings.Repeat(",10.2.2.2", 1000)}, "203.0.113.9"},
		{"a peer without port", "203.0.113.9", nil, "203.0.113.9"},
		{"a pipe", "pipe", []string{"203.0.113.9"}, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded, "X-Real-Ip": {"198.51.100.2"}, "Forwarded": {"for=198.51.100.3"}}}
			if got := clientAddress(r, trusted).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := clientAddress(r, nil); got != parseAddress(test.peer) {
				t.Errorf("without a trusted proxy: got %s", got)
			}
		})
	}
}

func FuzzClientAddress(f *testing.F) {
	f.Add("10.1.1.1:80", "203.0.113.9, [::1]:5, 10.2.2.2", "x")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {first, second}}}
		got := clientAddress(r, trusted)
		if got != parseAddress(peer) && !trusts(trusted, parseAddress(peer)) {
			t.Errorf("%s was believed that it forwards %s", peer, got)
		}
		if got.Zone() != "" || got.Is4In6() {
			t.Errorf("%s has two forms", got)
		}
	})
}

func TestLog_address(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }) // httptest's peer is in there
	w.get("/v1/heads", "X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	if !strings.Contains(w.log.String(), "address=203.0.113.9") {
		t.Errorf("the line does not have the client's address:\n%s", w.log)
	}
}
