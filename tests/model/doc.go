// Package model tests the server against a small model of it: random pushes,
// retries, pulls, restarts, restores and purges, each answer compared with what the
// oracle says. The oracle is written from the contract (DESIGN section 3) and
// shares no code with the server, so that a misreading has to happen twice to
// go unseen. What followers and authors were answered can be written down, for
// tidemark.js to be held to the same (transcript_test.go).
package model
