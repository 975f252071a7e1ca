package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// DocumentBytes is the size of every document of the bench.
const DocumentBytes = 200

// Collection is what all documents of the bench belong to.
const Collection = "todos"

// Document returns one of the bench's documents: DocumentBytes long, four
// fields, n in one of them. The limits write the same.
func Document(n uint64) []byte {
	return appendDocument(nil, n)
}

const (
	documentStart = `{"title":"Buy milk and bread","done":false,"n":"`
	documentText  = `","text":"`
	documentEnd   = `"}`
	documentDigit = 12
)

var documentFill = strings.Repeat("two bottles of the blue ones ", 8)[:DocumentBytes-len(documentStart)-documentDigit-len(documentText)-len(documentEnd)]

func appendDocument(b []byte, n uint64) []byte {
	b = append(b, documentStart...)
	digits := strconv.AppendUint(make([]byte, 0, 20), n%1e12, 10)
	for range documentDigit - len(digits) {
		b = append(b, '0')
	}
	b = append(b, digits...)
	b = append(b, documentText...)
	b = append(b, documentFill...)
	return append(b, documentEnd...)
}

// lengthDigits is the room that is left for Content-Length: spaces before the
// number are allowed, and so head and body can be made in one go.
const lengthDigits = 9

// Push makes the bytes of one client's pushes to one space, in one buffer.
type Push struct {
	b      []byte
	body   int // where the body begins
	client string
	edits  int // of this push
	total  uint64
}

// NewPush returns the maker of a client's pushes.
func NewPush(t Target, space, token, client string) *Push {
	b := t.head("POST", "/v1/spaces/"+space+"/push", token,
		"Content-Type: application/json", "Content-Length: "+strings.Repeat(" ", lengthDigits))
	b = append(b, "\r\n"...)
	return &Push{b: b, body: len(b), client: client}
}

// Count is the running number of the newest edit.
func (p *Push) Count() uint64 { return p.total }

// Begin starts the next push.
func (p *Push) Begin() {
	p.b = append(p.b[:p.body], `{"client_id":"`...)
	p.b = append(p.b, p.client...)
	p.b = append(p.b, `","edits":[`...)
	p.edits = 0
}

// Put adds an edit that replaces a document, or creates it if base is 0. Its
// edit_id is the client's and a running number.
func (p *Push) Put(id uint64, base int64) {
	if p.edits > 0 {
		p.b = append(p.b, ',')
	}
	p.edits++
	p.total++
	p.b = append(p.b, `{"edit_id":"`...)
	p.b = append(p.b, p.client...)
	p.b = append(p.b, '-')
	p.b = strconv.AppendUint(p.b, p.total, 10)
	p.b = append(p.b, `","op":"put","collection":"`+Collection+`","id":"`...)
	p.b = strconv.AppendUint(p.b, id, 10)
	p.b = append(p.b, `","base_version":`...)
	p.b = strconv.AppendInt(p.b, base, 10)
	p.b = append(p.b, `,"data":`...)
	p.b = appendDocument(p.b, p.total)
	p.b = append(p.b, '}')
}

// Request ends the push and returns its bytes, good until Begin.
func (p *Push) Request() []byte {
	p.b = append(p.b, `]}`...)
	room := p.b[p.body-len("\r\n\r\n")-lengthDigits : p.body-len("\r\n\r\n")]
	digits := strconv.AppendInt(make([]byte, 0, lengthDigits), int64(len(p.b)-p.body), 10)
	for i := range room {
		room[i] = ' '
	}
	copy(room[lengthDigits-len(digits):], digits)
	return p.b
}

// Fate is what became of one edit.
type Fate struct {
	Applied bool // else it was a conflict
	Version int64
}

var (
	statusMember  = []byte(`"status":"`)
	versionMember = []byte(`"version":`)
)

// ScanPush appends the fate of each edit to fates, in order. An edit that was
// neither applied nor a conflict is an error, as is another number of results
// than was wanted.
func ScanPush(body []byte, fates []Fate, want int) ([]Fate, error) {
	rest := body
	for range want {
		at := bytes.Index(rest, statusMember)
		if at < 0 {
			return fates, fmt.Errorf("an answer to %d edits has fewer results: %.300s", want, body)
		}
		rest = rest[at+len(statusMember):]
		switch {
		case bytes.HasPrefix(rest, []byte("applied")):
			version, after, err := number(rest, versionMember)
			if err != nil {
				return fates, err
			}
			fates, rest = append(fates, Fate{true, version}), after
		case bytes.HasPrefix(rest, []byte("conflict")):
			fates = append(fates, Fate{})
		default:
			return fates, fmt.Errorf("an edit was not applied: %.300s", rest)
		}
	}
	if bytes.Contains(rest, statusMember) {
		return fates, fmt.Errorf("an answer to %d edits has more results: %.300s", want, body)
	}
	return fates, nil
}

// number reads the integer after the next such member.
func number(b, member []byte) (n int64, rest []byte, err error) {
	at := bytes.Index(b, member)
	if at < 0 {
		return 0, nil, fmt.Errorf("%s is missing in %.300s", member, b)
	}
	b = b[at+len(member):]
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		n = n*10 + int64(b[end]-'0')
		end++
	}
	if end == 0 || end > 16 {
		return 0, nil, fmt.Errorf("%s is followed by %.40s", member, b)
	}
	return n, b[end:], nil
}
