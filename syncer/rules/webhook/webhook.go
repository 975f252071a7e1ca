// Package webhook asks an application, by HTTP, what it thinks of the edits of its
// clients. It is a [syncer.Validator].
//
// Each push is one POST, signed as Standard Webhooks (standardwebhooks.com) has it: the
// header webhook-signature is "v1," and the base64 of the HMAC-SHA256 of webhook-id,
// webhook-timestamp and body with dots between. The answer is 200 and the edits that are
// refused:
//
//	{"rejected": [{"edit_id": "e1", "detail": "the project is closed", "pointer": "/data/project"}]}
//
// Everything else is no answer: another status, a redirect, a body that is not exactly
// of that form, one that comes too late. Then the push fails and nothing is applied,
// because a rule that holds only while its server is well is none. Verdicts are not
// remembered: what is right today need not be tomorrow.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	// maxAsking is how many pushes wait for an answer at a time; further ones wait for
	// their turn, within the same time.
	maxAsking = 64

	maxAnswerBytes = 512 << 10
	maxHeaderBytes = 16 << 10

	// A secret is base64 of so many random bytes, as Standard Webhooks has it.
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// ErrSecret is the error of New for a secret that is none.
var ErrSecret = fmt.Errorf("it must be %[1]s and base64 of %[2]d to %[3]d bytes (make one with: echo %[1]s$(openssl rand -base64 32))",
	secretPrefix, minSecretBytes, maxSecretBytes)

// Hook asks one address. It is safe for concurrent use.
type Hook struct {
	address string
	key     []byte
	timeout time.Duration
	client  *http.Client
	asking  chan struct{} // holds a value for each who asks
}

var _ syncer.Validator = (*Hook)(nil)

// New returns a Hook that asks address and waits for timeout at most. The address is
// https, unless it can be reached from this machine only: documents go there. Errors:
// ErrSecret, and others about the address.
func New(address, secret string, timeout time.Duration) (*Hook, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("it must be a URL like https://app.example.com/validate")
	case u.User != nil:
		return nil, errors.New("it must not hold a user or a password; the secret is there for that")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("it must begin with https://, unless it is of this machine: documents go there")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return nil, ErrSecret
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = maxAsking
	transport.MaxResponseHeaderBytes = maxHeaderBytes
	transport.DisableCompression = true
	return &Hook{
		address: address,
		key:     key,
		timeout: timeout,
		client: &http.Client{
			Transport: transport,
			// Documents go to the address that was set, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		asking: make(chan struct{}, maxAsking),
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Validate implements syncer.Validator. Errors: CodeUnavailable, and that of ctx.
func (h *Hook) Validate(ctx context.Context, p syncer.Proposal) (map[string]*models.EditError, error) {
	within, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	refused, err := h.ask(within, p)
	switch {
	case err == nil:
		return refused, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &models.Error{
		Code: models.CodeUnavailable, RetryAfter: time.Second, Err: fmt.Errorf("ask the validation URL: %w", err),
		Detail: "The application, which must agree to each edit, can't be asked now. Nothing was changed; try again.",
	}
}

func (h *Hook) ask(ctx context.Context, p syncer.Proposal) (map[string]*models.EditError, error) {
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return nil, errors.New("too many are waiting for an answer")
	}
	req, err := h.request(ctx, p)
	if err != nil {
		return nil, err
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %s, not 200", res.Status)
	case len(text) > maxAnswerBytes:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswerBytes)
	}
	return readAnswer(text, p.Edits)
}

// question is what is asked.
type question struct {
	Space    string         `json:"space"`
	Subject  string         `json:"subject"`
	ClientID string         `json:"client_id"`
	Edits    []questionEdit `json:"edits"`
}

type questionEdit struct {
	EditID      string          `json:"edit_id"`
	Op          models.Op       `json:"op"`
	Collection  string          `json:"collection"`
	ID          string          `json:"id"`
	BaseVersion *int64          `json:"base_version,omitempty"`
	BaseEditID  string          `json:"base_edit_id,omitempty"`
	Force       bool            `json:"force,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// request returns the signed question.
func (h *Hook) request(ctx context.Context, p syncer.Proposal) (*http.Request, error) {
	q := question{Space: p.Space, Subject: p.Subject, ClientID: p.ClientID, Edits: make([]questionEdit, len(p.Edits))}
	for i, e := range p.Edits {
		q.Edits[i] = questionEdit{e.EditID, e.Op, e.Collection, e.ID, e.BaseVersion, e.BaseEditID, e.Force, e.Data}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	id, sent := "msg_"+rand.Text(), strconv.FormatInt(time.Now().Unix(), 10)
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"tidemark"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {sent},
		"Webhook-Signature": {"v1," + h.sign(id, sent, body)},
		// Not sent. It lets net/http ask again on a new connection where a kept one
		// turns out to be closed; a question may be asked twice.
		"Idempotency-Key": {},
	}
	return req, nil
}

func (h *Hook) sign(id, sent string, body []byte) string {
	sum := hmac.New(sha256.New, h.key)
	fmt.Fprintf(sum, "%s.%s.", id, sent)
	sum.Write(body)
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}
