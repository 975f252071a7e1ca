package main

import (
	"errors"
	"time"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/hook"
	"github.com/tidemark/tidemark/syncer/rules/schema"
	"github.com/tidemark/tidemark/syncer/rules/webhook"
)

// maxValidationTimeout, with the times for a body and for a commit, stays below what an
// answer may take as a whole.
const maxValidationTimeout = 20 * time.Second

func (s *Settings) checkRules() error {
	switch {
	case s.ValidationURL == "" && s.ValidationSecret != "":
		return usagef("--validation-secret means nothing without --validation-url")
	case s.ValidationTimeout <= 0 || s.ValidationTimeout > maxValidationTimeout:
		return usagef("--validation-timeout must be longer than nothing, and at most %s", maxValidationTimeout)
	}
	_, err := s.validator()
	return err
}

// rules are the application's; nil is none.
type rules struct {
	documents syncer.Rules
	edits     syncer.Validator
}

// rules reads the schemas and returns the rules that are set.
func (s *Settings) rules() (r rules, err error) {
	if s.Schemas != "" {
		if r.documents, err = schema.Load(s.Schemas); err != nil {
			return rules{}, usagef("--schemas: %w", err)
		}
	}
	r.edits, err = s.validator()
	return r, err
}

// validator returns who is asked about edits, nil if nobody is.
func (s *Settings) validator() (syncer.Validator, error) {
	if s.ValidationURL == "" {
		return nil, nil
	}
	validator, err := webhook.New(s.ValidationURL, s.ValidationSecret, s.ValidationTimeout)
	switch {
	case errors.Is(err, hook.ErrSecret):
		return nil, usagef("--validation-secret: %w", err)
	case err != nil:
		return nil, usagef("--validation-url: %w", err)
	}
	return validator, nil
}
