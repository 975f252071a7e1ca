// Package webhook asks an application, by HTTP, what it thinks of the edits of its
// clients. It is a [syncer.Validator].
//
// Each push is one POST, signed by package hook. The answer is 200 and the edits that
// are refused:
//
//	{"rejected": [{"edit_id": "e1", "detail": "the project is closed", "pointer": "/data/project"}]}
//
// Everything else is no answer: another status, a redirect, a body that is not exactly
// of that form, one that comes too late. Then the push fails and nothing is applied,
// because a rule that holds only while its server is well is none. Verdicts are not
// remembered: what is right today need not be tomorrow.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/hook"
)

const (
	// maxAsking is how many pushes wait for an answer at a time; further ones wait for
	// their turn, within the same time.
	maxAsking = 64

	maxAnswerBytes = 512 << 10
)

// Hook asks one address. It is safe for concurrent use.
type Hook struct {
	target  *hook.Target
	timeout time.Duration
	asking  chan struct{} // holds a value for each who asks
}

var _ syncer.Validator = (*Hook)(nil)

// New returns a Hook that asks address and waits for timeout at most. Errors: those of
// [hook.New].
func New(address, secret string, timeout time.Duration) (*Hook, error) {
	target, err := hook.New(address, secret, maxAsking)
	if err != nil {
		return nil, err
	}
	return &Hook{target: target, timeout: timeout, asking: make(chan struct{}, maxAsking)}, nil
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
	body, err := newQuestion(p)
	if err != nil {
		return nil, err
	}
	res, err := h.target.Post(ctx, "msg_"+rand.Text(), body)
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

// newQuestion returns the body that asks about p.
func newQuestion(p syncer.Proposal) ([]byte, error) {
	q := question{Space: p.Space, Subject: p.Subject, ClientID: p.ClientID, Edits: make([]questionEdit, len(p.Edits))}
	for i, e := range p.Edits {
		q.Edits[i] = questionEdit{e.EditID, e.Op, e.Collection, e.ID, e.BaseVersion, e.BaseEditID, e.Force, e.Data}
	}
	return json.Marshal(q)
}
