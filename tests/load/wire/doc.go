// Package wire speaks to a deployment with as little work as possible.
//
// The load client shares its processor with the server that it measures, so
// what it spends is missing there. net/http's client costs about as much as the
// server does for a small request: a goroutine each for reading and writing, a
// map of headers, a request made anew every time. fasthttp is leaner and still
// parses what nobody here reads. A [Conn] writes bytes that were made
// beforehand, and of the answer it reads the status, the length and the ETag.
// It is no general client: one request at a time, no redirects, no compression.
//
// Answers are scanned for the few members that matter ([ScanPush], [ScanPage])
// and never decoded. That is safe because all documents are the bench's own, and
// none of them holds anything that looks like a member of the envelope.
package wire
