// Package tidemark is the root of Tidemark, a server that keeps JSON documents
// in step between optimistic clients: they push versioned edits and pull what
// changed since their cursor.
//
// Where to read on: package models for the words, package syncer for the
// guarantees and the engine, package api for the wire, cmd/tidemark for the
// program. The root itself only holds the description of the wire format,
// because go:embed can't reach a file above its package.
package tidemark

import _ "embed"

// OpenAPI is openapi.yaml, the normative description of the wire format.
//
//go:embed openapi.yaml
var OpenAPI []byte
