package models

import "time"

// Limits of the wire format. GET /v1/config tells them to clients, openapi.yaml
// states them, and each is tested at its edge.
const (
	// MaxVersion is the largest version, 2^53-1: the largest integer that every
	// JSON implementation carries without loss (RFC 7493, section 2.2).
	MaxVersion = 1<<53 - 1

	MaxHeaderBytes = 16 << 10 // the request line and all headers together
	MaxURLBytes    = 8 << 10  // the request target as sent
	MaxBodyBytes   = 1 << 20  // a request body, after inflation
	MaxTokenBytes  = 4 << 10  // a bearer token

	MaxEdits     = 200     // edits in one push
	MaxPushBytes = 4 << 20 // documents that one push may write, together

	MaxDocumentBytes  = 256 << 10 // one document as text
	MaxDocumentDepth  = 32        // nesting of objects and arrays, the document itself is 1
	MaxDocumentValues = 10_000    // values in one document, at every level
	MaxKeyBytes       = 256       // one member name, after unescaping

	MaxNameBytes   = 128 // collection, id, client_id, edit_id
	MaxSpaceBytes  = 63  // space
	MaxCursorBytes = 256

	DefaultPageChanges = 500     // limit of a pull that names none
	MaxPageChanges     = 1_000   // largest limit of a pull
	MaxPageBytes       = 1 << 20 // documents in one page; one whole version always fits
	MaxPageRows        = 20_000  // rows that one page may read, shown or not

	// MaxCollections bounds the filter of a pull: each becomes a parameter of a
	// statement, of which databases take a limited number.
	MaxCollections = 100

	MaxHeads = 200 // spaces in one heads request

	MaxWait = 25 * time.Second // longest long poll

	MaxQueuedPushes = 256 // pushes that wait for one space on a node

	MaxStreamSpaces      = 30     // spaces in one stream
	MaxStreamsPerSubject = 20     // streams that one subject has open on one node
	MaxStreamsPerNode    = 10_000 // streams that one node has open

	MaxReceipts = 256 // applied edits that a client's row remembers; more than MaxEdits

	MaxPresent            = 1_000   // clients present in one space
	MaxPresenceStateBytes = 1 << 10 // what each of them shows
	MinPresenceTTL        = 5 * time.Second
	DefaultPresenceTTL    = 30 * time.Second
	MaxPresenceTTL        = 120 * time.Second
)
