package models

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Code names a kind of failure. Codes are stable: clients branch on them.
type Code string

// Codes of a request that failed as a whole. The api package maps each to a
// status; openapi.yaml tells what each means.
const (
	CodeMalformedJSON        Code = "malformed_json"
	CodeInvalidRequest       Code = "invalid_request"
	CodeUnknownField         Code = "unknown_field"
	CodeInvalidCursor        Code = "invalid_cursor"
	CodeInvalidSpace         Code = "invalid_space"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeForbidden            Code = "forbidden"
	CodeNotFound             Code = "not_found"
	CodeSpaceNotFound        Code = "space_not_found"
	CodeDocumentNotFound     Code = "document_not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeRequestTimeout       Code = "request_timeout"
	CodeCursorExpired        Code = "cursor_expired"
	CodeVersionConflict      Code = "version_conflict"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeBatchTooLarge        Code = "batch_too_large"
	CodeURITooLong           Code = "uri_too_long"
	CodeUnsupportedMedia     Code = "unsupported_media_type"
	CodeUnsupportedEncoding  Code = "unsupported_encoding"
	CodeSpaceBusy            Code = "space_busy"
	CodePreconditionRequired Code = "precondition_required"
	CodePresenceTaken        Code = "presence_taken"
	CodePresenceFull         Code = "presence_full"
	CodeUpgradeRequired      Code = "upgrade_required"
	CodeTooManyStreams       Code = "too_many_streams"
	CodeRateLimited          Code = "rate_limited"
	CodeInternal             Code = "internal"
	CodeUnavailable          Code = "unavailable"
	CodeOutcomeUnknown       Code = "outcome_unknown"
)

// Codes of one edit. In a push they stand in the edit's result; a single
// document's request fails with them as a whole.
const (
	CodeBaseRequired      Code = "base_required"
	CodeBaseUnknown       Code = "base_unknown"
	CodeInvalidEdit       Code = "invalid_edit"
	CodeInvalidCollection Code = "invalid_collection"
	CodeInvalidID         Code = "invalid_id"
	CodeInvalidDocument   Code = "invalid_document"
	CodeDuplicateKey      Code = "duplicate_key" // also of a request's own envelope
	CodeDocumentTooLarge  Code = "document_too_large"
	CodeDocumentTooDeep   Code = "document_too_deep"
	CodePushTooLarge      Code = "push_too_large"
	CodeEditIDReused      Code = "edit_id_reused"

	// These are rules of the application, and of the token.
	CodeSchemaViolation     Code = "schema_violation"
	CodeValidationFailed    Code = "validation_failed"
	CodeCollectionForbidden Code = "collection_forbidden"
)

// Cause says why a cursor expired.
type Cause string

// The causes of CodeCursorExpired.
const (
	CauseRetention Cause = "retention" // tombstones that the client has not seen are gone
	CauseEpoch     Cause = "epoch"     // the cursor is of a history that was lost
	CauseFilter    Cause = "filter"    // the cursor was made with other collections
	CauseDeleted   Cause = "deleted"   // the space was deleted since, and may be in use again
)

// FieldError is one thing wrong with a request.
type FieldError struct {
	// Pointer is a JSON Pointer (RFC 6901) into the body, or the name of a
	// query parameter or header. Of a violation it points into the edit.
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Error is a request that failed as a whole: a code for the machine and a
// sentence for the person. Err, what went wrong underneath, is for the log only.
type Error struct {
	Code       Code
	Detail     string
	Fields     []FieldError
	Cause      Cause         // of CodeCursorExpired
	Current    *Change       // of CodeVersionConflict
	RetryAfter time.Duration // of codes that are answered with 429 or 503
	Err        error
}

// Error returns the code, the sentence and what went wrong underneath.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Unwrap returns what went wrong underneath.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error from a code and a sentence.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the Error in err's chain, CodeInternal if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Cut bounds what of a request is repeated in an answer: it returns text, or so many of
// its bytes as make whole characters, and an ellipsis.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) { // it may be no UTF-8 at all
		most--
	}
	return text[:most] + "…"
}
