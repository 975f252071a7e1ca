package models

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// The wire forms that carry documents are written by hand: encoding/json would
// compact every document and escape its < > &, and documents are returned byte
// for byte as they were sent.

// appendTime appends milliseconds of Unix time as RFC 3339 in UTC with milliseconds.
func appendTime(b []byte, ms int64) []byte {
	t := time.UnixMilli(ms).UTC()
	b = t.AppendFormat(b, time.RFC3339) // the only layout with a fast path
	fraction := t.Nanosecond() / 1e6
	return append(b[:len(b)-1], '.', '0'+byte(fraction/100), '0'+byte(fraction/10%10), '0'+byte(fraction%10), 'Z')
}

// Encode makes the wire form of c and keeps it, so that AppendJSON only copies it
// however many ask for c. c must not be changed any more.
func (c *Change) Encode() {
	if c.wire != nil {
		return
	}
	c.wire = c.AppendJSON(make([]byte, 0, len(c.Data)+256))
	if at := bytes.Index(c.wire, c.Data); !c.Deleted && at >= 0 {
		c.Data = c.wire[at : at+len(c.Data)] // the same text, kept once
	}
}

// AppendJSON appends the wire form of c to b.
func (c *Change) AppendJSON(b []byte) []byte {
	if c.wire != nil {
		return append(b, c.wire...)
	}
	b = append(b, `{"collection":`...)
	b = appendString(b, c.Collection)
	b = append(b, `,"id":`...)
	b = appendString(b, c.ID)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, c.Version, 10)
	b = append(b, `,"deleted":`...)
	b = strconv.AppendBool(b, c.Deleted)
	if !c.Deleted {
		b = append(b, `,"data":`...)
		b = append(b, c.Data...)
	}
	b = append(b, `,"updated_at":"`...)
	b = appendTime(b, c.UpdatedAt)
	b = append(b, `","updated_by":`...)
	b = appendString(b, c.UpdatedBy)
	b = append(b, `,"client_id":`...)
	b = appendString(b, c.ClientID)
	b = append(b, `,"edit_id":`...)
	b = appendString(b, c.EditID)
	return append(b, '}')
}

// AppendJSON appends the wire form of r to b.
func (r *EditResult) AppendJSON(b []byte) []byte {
	b = append(b, `{"edit_id":`...)
	b = appendString(b, r.EditID)
	b = append(b, `,"status":`...)
	b = appendString(b, string(r.Status))
	if r.Status == StatusApplied {
		b = append(b, `,"version":`...)
		b = strconv.AppendInt(b, r.Version, 10)
	}
	if r.Replayed {
		b = append(b, `,"replayed":true`...)
	}
	if r.Merged {
		b = append(b, `,"merged":true`...)
	}
	if r.Current != nil {
		b = append(b, `,"current":`...)
		b = r.Current.AppendJSON(b)
	}
	if len(r.ConflictingFields) > 0 {
		b = append(b, `,"conflicting_fields":`...)
		b = appendList(b, r.ConflictingFields, func(b []byte, s *string) []byte { return appendString(b, *s) })
	}
	if r.Error != nil {
		b = append(b, `,"error":`...)
		b = appendValue(b, r.Error)
	}
	if r.BlockedBy != "" {
		b = append(b, `,"blocked_by":`...)
		b = appendString(b, r.BlockedBy)
	}
	return append(b, '}')
}

// AppendJSON appends the wire form of p to b.
func (p *Page) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	b = p.appendMembers(b)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, p.Version, 10)
	b = appendPollAfter(b, p.PollAfter)
	return append(b, '}')
}

// appendMembers appends what a page has alone and inside a push's answer.
func (p *Page) appendMembers(b []byte) []byte {
	b = append(b, `"changes":`...)
	b = appendList(b, p.Changes, func(b []byte, c *Change) []byte { return c.AppendJSON(b) })
	b = append(b, `,"cursor":`...)
	b = appendString(b, p.Cursor)
	b = append(b, `,"has_more":`...)
	b = strconv.AppendBool(b, p.HasMore)
	if p.Digest == nil {
		return b
	}
	b = append(b, `,"digest":"`...)
	b = appendHex(b, p.Digest.Sum)
	b = append(b, `","count":`...)
	return strconv.AppendInt(b, p.Digest.Count, 10)
}

// appendHex appends all 16 digits of n.
func appendHex(b []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

// AppendJSON appends the wire form of r to b.
func (r *PushResponse) AppendJSON(b []byte) []byte {
	b = append(b, `{"results":`...)
	b = appendList(b, r.Results, func(b []byte, r *EditResult) []byte { return r.AppendJSON(b) })
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, r.Version, 10)
	if r.Page != nil {
		b = append(b, ',')
		b = r.Page.appendMembers(b)
	}
	b = appendPollAfter(b, r.PollAfter)
	return append(b, '}')
}

func appendPollAfter(b []byte, d time.Duration) []byte {
	b = append(b, `,"poll_after_ms":`...)
	return strconv.AppendInt(b, d.Milliseconds(), 10)
}

func appendList[T any](b []byte, list []T, appendOne func([]byte, *T) []byte) []byte {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendOne(b, &list[i])
	}
	return append(b, ']')
}

func appendString(b []byte, s string) []byte {
	// Most strings here are names, which need no escaping.
	if plain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	return appendValue(b, s)
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendValue encodes values that cannot fail to encode: strings and EditErrors.
func appendValue(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // unreachable: see above
	}
	return append(b, text...)
}
