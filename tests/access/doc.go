// Package access tests over HTTP, against the real binary on both stores, that nobody
// gets at what is not theirs: with the token, the cursor or the ticket of another, by
// odd paths, or with what was taken back.
package access
