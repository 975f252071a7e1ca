// Package hook sends signed requests to an address that the operator has set: the
// questions of a validation URL (syncer/rules/webhook) and wake-ups (syncer/wakeup).
//
// Each is a POST, signed as Standard Webhooks (standardwebhooks.com) has it: the header
// webhook-signature is "v1," and the base64 of the HMAC-SHA256 of webhook-id,
// webhook-timestamp and body with dots between.
package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxHeaderBytes = 16 << 10

	// A secret is base64 of so many random bytes, as Standard Webhooks has it.
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// ErrSecret is the error of New for a secret that is none.
var ErrSecret = fmt.Errorf("it must be %[1]s and base64 of %[2]d to %[3]d bytes (make one with: echo %[1]s$(openssl rand -base64 32))",
	secretPrefix, minSecretBytes, maxSecretBytes)

// Target is an address and the secret that requests to it are signed with. It is safe
// for concurrent use.
type Target struct {
	address string
	key     []byte
	client  *http.Client
}

// New returns a Target that keeps so many connections open while nothing is sent. The
// address is https, unless it can be reached from this machine only. Errors: ErrSecret,
// and others about the address.
func New(address, secret string, connections int) (*Target, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("it must be a URL like https://app.example.com/tidemark")
	case u.User != nil:
		return nil, errors.New("it must not hold a user or a password; the secret is there for that")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("it must begin with https://, unless it is of this machine: others would read along")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return nil, ErrSecret
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = connections
	transport.MaxResponseHeaderBytes = maxHeaderBytes
	transport.DisableCompression = true
	return &Target{
		address: address,
		key:     key,
		client: &http.Client{
			Transport: transport,
			// What is sent goes to the address that was set, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Post sends a body, which is JSON. Who sends the same again gives it the same id. The
// answer may have any status; its body is the caller's to read, bounded, and to close.
func (t *Target) Post(ctx context.Context, id string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sent := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"tidemark"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {sent},
		"Webhook-Signature": {"v1," + t.sign(id, sent, body)},
		// Not sent. It lets net/http send again on a new connection where a kept one
		// turns out to be closed; what is sent here may come twice.
		"Idempotency-Key": {},
	}
	return t.client.Do(req)
}

func (t *Target) sign(id, sent string, body []byte) string {
	sum := hmac.New(sha256.New, t.key)
	fmt.Fprintf(sum, "%s.%s.", id, sent)
	sum.Write(body)
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

// CloseIdleConnections closes the connections that are kept for later.
func (t *Target) CloseIdleConnections() { t.client.CloseIdleConnections() }
