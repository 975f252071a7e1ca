package presence

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

const (
	// maxSubjectBytes bounds a subject in a message; tokens have a tighter bound.
	maxSubjectBytes = 256

	// maxAhead is how far the clock of another node may be ahead of this one's.
	maxAhead = 24 * time.Hour
)

// A stamp says which of two entries of a client is newer, on every node alike.
type stamp struct {
	Time int64  `json:"time"` // microseconds of Unix time, never less than seen before
	Node string `json:"node"`
}

func (s stamp) newer(than stamp) bool {
	return cmp.Or(cmp.Compare(s.Time, than.Time), cmp.Compare(s.Node, than.Node)) > 0
}

// news is what one node tells the others of a client: that it is present, or
// that it has left.
type news struct {
	Stamp    stamp  `json:"stamp"`
	ClientID string `json:"client_id"`
	Subject  string `json:"subject"`
	Left     bool   `json:"left,omitempty"`
	// State is base64 in the message: as JSON it could grow to six times its
	// length when the message is encoded, and it must come out byte for byte.
	State []byte `json:"state,omitempty"`
	Since int64  `json:"since,omitempty"`
	TTLMS int64  `json:"ttl_ms,omitempty"`
}

func (n *news) ttl() time.Duration { return time.Duration(n.TTLMS) * time.Millisecond }

func (n *news) message(space string) syncer.Message {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // unreachable: strings and integers
	}
	return syncer.Message{Space: space, Presence: text}
}

// readNews reads what came over a network, which is not trusted: what it says is
// shown to clients, and a stamp of a far future would outlast all others.
func readNews(m syncer.Message, now time.Time) (*news, error) {
	n := &news{}
	if err := json.Unmarshal(m.Presence, n); err != nil {
		return nil, fmt.Errorf("read news of presence: %w", err)
	}
	switch {
	case !models.ValidSpace(m.Space), !models.ValidName(n.ClientID), !models.ValidName(n.Stamp.Node),
		n.Subject == "", len(n.Subject) > maxSubjectBytes,
		n.Stamp.Time <= 0, n.Stamp.Time > now.Add(maxAhead).UnixMicro():
		return nil, errors.New("read news of presence: not of a client, or without a stamp")
	case n.Left:
		return n, nil
	case n.TTLMS <= 0, n.TTLMS > models.MaxPresenceTTL.Milliseconds():
		return nil, errors.New("read news of presence: bad ttl")
	case n.Since <= 0, n.Since > now.Add(maxAhead).UnixMilli():
		return nil, errors.New("read news of presence: bad since")
	}
	return n, checkState(n.State)
}

// checkState checks that text is an object that may be shown to everybody: by the
// rules of documents, and small.
func checkState(text []byte) error {
	if len(text) > models.MaxPresenceStateBytes {
		return &models.Error{
			Code: models.CodeDocumentTooLarge, Detail: fmt.Sprintf("A state holds at most %d bytes.", models.MaxPresenceStateBytes),
			Fields: []models.FieldError{{Pointer: "/state", Detail: fmt.Sprintf("holds %d bytes", len(text))}},
		}
	}
	e := syncer.CheckDocument(text)
	if e == nil {
		return nil
	}
	// It points into the data of an edit.
	at := "/state" + e.Pointer[len("/data"):]
	return &models.Error{
		Code: e.Code, Detail: "The state is not as documents must be; errors says where.",
		Fields: []models.FieldError{{Pointer: at, Detail: e.Detail}},
	}
}
