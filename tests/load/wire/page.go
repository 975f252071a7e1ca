package wire

import (
	"bytes"
	"errors"
	"fmt"
)

// Page is what the bench wants to know of a page.
type Page struct {
	Changes int
	Cursor  []byte // good as long as the body
	More    bool
}

var (
	changeMember = []byte(`"edit_id":"`)
	cursorMember = []byte(`"cursor":"`)
	moreMember   = []byte(`"has_more":`)
)

// ScanPage reads a page. The cursor and has_more follow the changes, so they
// are looked for from the end.
func ScanPage(body []byte) (Page, error) {
	at := bytes.LastIndex(body, cursorMember)
	if at < 0 {
		return Page{}, fmt.Errorf("a page without a cursor: %.300s", body)
	}
	page := Page{Changes: bytes.Count(body[:at], changeMember)}
	var ended bool
	if page.Cursor, _, ended = bytes.Cut(body[at+len(cursorMember):], []byte(`"`)); !ended {
		return Page{}, errors.New("a page ends inside its cursor")
	}
	more := bytes.LastIndex(body, moreMember)
	if more < 0 {
		return Page{}, errors.New("a page without has_more")
	}
	page.More = bytes.HasPrefix(body[more+len(moreMember):], []byte("true"))
	return page, nil
}

// EachEdit calls with the running number of every edit_id of the client that
// the bytes hold.
func EachEdit(b []byte, client string, call func(n uint64)) {
	prefix := make([]byte, 0, 64)
	prefix = append(append(append(prefix, changeMember...), client...), '-')
	for {
		at := bytes.Index(b, prefix)
		if at < 0 {
			return
		}
		b = b[at+len(prefix):]
		var n uint64
		for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
			n, b = n*10+uint64(b[0]-'0'), b[1:]
		}
		call(n)
	}
}
