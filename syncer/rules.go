package syncer

import (
	"context"

	"github.com/tidemark/tidemark/models"
)

// Rules are what an application demands of its documents beyond their form.
type Rules interface {
	// Check returns why document must not be stored in collection, nil if it may.
	// document keeps the limits of its form; pointers in what is returned begin with
	// /data. Patched documents are checked while their space is locked, so Check waits
	// for nothing and takes time in proportion to document. It is safe for concurrent
	// use and does not keep document.
	Check(collection string, document []byte) *models.EditError
}

// A Validator is asked what an application thinks of the edits of its clients,
// before they are queued. It knows nothing of what is stored.
type Validator interface {
	// Validate returns why edits of p must not be applied, by edit_id; those that it
	// doesn't name may be. Where it fails, nothing of the push is applied. It is safe
	// for concurrent use and keeps nothing of p.
	Validate(ctx context.Context, p Proposal) (map[string]*models.EditError, error)
}

// Proposal is what a client would like to do to a space: the edits of one push that
// nothing else is wrong with yet.
type Proposal struct {
	Space, Subject, ClientID string
	Edits                    []models.Edit
}

// judge holds the edits of p against the rules, as far as that can be done without
// looking at any document. What is against them is refused under the lock, once it is
// clear that the edit is no retry. Errors: those of Validator.
func (e *Engine) judge(ctx context.Context, p *push) error {
	if p.rules = e.opts.Rules; p.rules != nil {
		for i := range p.edits {
			if one := &p.edits[i]; one.problem == nil && one.Op == models.OpPut {
				one.against = p.rules.Check(one.Collection, one.Data)
			}
		}
	}
	if e.opts.Validator == nil || p.inbox != nil {
		return nil
	}
	asked := Proposal{Space: p.space, Subject: p.subject, ClientID: p.clientID}
	for i := range p.edits {
		if one := &p.edits[i]; one.problem == nil && one.against == nil {
			asked.Edits = append(asked.Edits, one.Edit)
		}
	}
	if len(asked.Edits) == 0 {
		return nil
	}
	refused, err := e.opts.Validator.Validate(ctx, asked)
	if err != nil {
		return err
	}
	for i := range p.edits {
		if one := &p.edits[i]; one.problem == nil && one.against == nil {
			one.against = refused[one.EditID]
		}
	}
	return nil
}
