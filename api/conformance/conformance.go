// Package conformance holds any deployment against the protocol, from outside: `tidemark
// conformance URL`. It is written from openapi.yaml and shares no code with the server,
// so that another implementation of this API can be checked by it.
//
// Each check has a space of its own, `conformance-…`, where some small documents stay.
package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// checkTimeout bounds one check, long polls and streams included.
const checkTimeout = 60 * time.Second

// Options say what is checked.
type Options struct {
	// URL is where the deployment is, without /v1.
	URL string
	// Token reads and writes the spaces `conformance-*`; "" for a server without auth.
	Token string
}

// Result is what became of a check. Fault is "" if the deployment conforms.
type Result struct {
	Area, Name string
	Fault      string
	Took       time.Duration
}

// check is one of the rules of the protocol.
type check struct {
	area, name string
	withToken  bool // there is nothing to check without one
	run        func(*trial)
}

// checks are all that can be made, in the order in which a server that is being written
// might come to pass them.
func checks(withToken bool) []check {
	var all []check
	for _, area := range []struct {
		name   string
		checks []check
	}{
		{"push", pushing()},
		{"retries", retrying()},
		{"bases", basing()},
		{"pull", pulling()},
		{"cursors", continuing()},
		{"documents", documents()},
		{"refusals", refusing()},
		{"streams", streaming()},
		{"presence", presence()},
	} {
		for _, c := range area.checks {
			if c.area = area.name; withToken || !c.withToken {
				all = append(all, c)
			}
		}
	}
	return all
}

// Run makes all checks, one after the other, and tells of each when it is through. It
// reports whether there was a fault. Error: ctx ended.
func Run(ctx context.Context, opts Options, tell func(Result)) (faulty bool, err error) {
	c := &client{
		base: strings.TrimSuffix(opts.URL, "/"), token: opts.Token,
		http: &http.Client{
			// A redirect would hide what is answered.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 32},
		},
	}
	defer c.http.CloseIdleConnections()
	prefix := "conformance-" + strings.ToLower(rand.Text()[:8])
	for i, check := range checks(opts.Token != "") {
		begun := time.Now()
		fault := check.fault(ctx, c, fmt.Sprintf("%s-%d", prefix, i+1))
		if err := ctx.Err(); err != nil {
			return faulty, err
		}
		faulty = faulty || fault != ""
		tell(Result{check.area, check.name, fault, time.Since(begun)})
	}
	return faulty, nil
}

// fault makes the check, and returns what is wrong.
func (c *check) fault(ctx context.Context, client *client, space string) (fault string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	defer func() {
		// Whatever else panics has met an answer that nobody thought of.
		if r := recover(); r != nil {
			fault = fmt.Sprint(r)
		}
	}()
	c.run(&trial{ctx: ctx, client: client, space: space})
	return ""
}
