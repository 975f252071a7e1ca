package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// clientAddress returns where a request comes from: the other end of the
// connection, unless that is a proxy that is trusted. Then it is what the proxy
// says in X-Forwarded-For, read from the right, where each proxy adds whom it heard:
// the first address that is no trusted proxy itself. What stands left of that, the
// client may have made up. It is the zero Addr for what is no address, as of a pipe.
//
// It is written here and not left to echo, because it must be a netip.Addr, must know
// addresses with a port, as some proxies write them, and must stop at what is no
// address and not go back to the proxy, whose rate all clients would share.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	at := parseAddress(r.RemoteAddr)
	if len(trusted) == 0 {
		return at
	}
	for _, line := range slices.Backward(r.Header.Values(echo.HeaderXForwardedFor)) {
		for more := true; more; {
			if !trusts(trusted, at) {
				return at
			}
			comma := strings.LastIndexByte(line, ',')
			next := parseAddress(line[comma+1:])
			if !next.IsValid() {
				return at
			}
			at, line, more = next, line[:max(comma, 0)], comma >= 0
		}
	}
	return at
}

func trusts(trusted []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseAddress reads an address with or without port. IPv4 in IPv6 is IPv4, and a
// zone, which means something on one machine only, is left out.
func parseAddress(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// household is what shares one rate: an IPv4 address, or the /64 that an IPv6
// network hands to one customer, who may have any address in it.
func household(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a // unreachable: an IPv6 address has 64 bits
	}
	return p.Addr()
}
