package models

import (
	"encoding/json"
	"strconv"
	"time"
)

// Presence is a client that is present in a space.
type Presence struct {
	ClientID string
	Subject  string // who the client speaks for
	// State is the JSON object that the client shows, byte for byte as it was sent.
	State json.RawMessage
	Since int64 // when it came, in milliseconds of Unix time
	// ExpiresIn is how much longer it is present without a heartbeat.
	ExpiresIn time.Duration
}

// PresenceRequest is the body of a heartbeat.
type PresenceRequest struct {
	State json.RawMessage // nil: an empty object
	TTL   time.Duration   // 0: DefaultPresenceTTL
}

// PresenceList is everybody who is present in a space.
type PresenceList struct {
	Present []Presence
	// PollAfter is how long the client should wait before its next heartbeat.
	PollAfter time.Duration
}

// AppendJSON appends the wire form of l to b.
func (l *PresenceList) AppendJSON(b []byte) []byte {
	b = append(b, `{"present":`...)
	b = appendList(b, l.Present, func(b []byte, p *Presence) []byte {
		b = p.appendMembers(append(b, '{'))
		b = append(b, `,"expires_in_ms":`...)
		b = strconv.AppendInt(b, p.ExpiresIn.Milliseconds(), 10)
		return append(b, '}')
	})
	b = appendPollAfter(b, l.PollAfter)
	return append(b, '}')
}

// PresenceEvent is what a stream shows when somebody came or went or shows
// another state. It doesn't say when they expire: heartbeats that change nothing
// make no event, so that would soon be wrong.
type PresenceEvent struct {
	Space   string
	Present []Presence
}

// AppendJSON appends the wire form of e to b.
func (e *PresenceEvent) AppendJSON(b []byte) []byte {
	b = append(b, `{"space":`...)
	b = appendString(b, e.Space)
	b = append(b, `,"present":`...)
	b = appendList(b, e.Present, func(b []byte, p *Presence) []byte {
		return append(p.appendMembers(append(b, '{')), '}')
	})
	return append(b, '}')
}

// appendMembers appends what answers and events tell of p.
func (p *Presence) appendMembers(b []byte) []byte {
	b = append(b, `"client_id":`...)
	b = appendString(b, p.ClientID)
	b = append(b, `,"subject":`...)
	b = appendString(b, p.Subject)
	b = append(b, `,"state":`...)
	b = append(b, p.State...)
	b = append(b, `,"since":"`...)
	b = appendTime(b, p.Since)
	return append(b, '"')
}
