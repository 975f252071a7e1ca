package syncer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark/tidemark/models"
)

// MaxMessageBytes bounds the encoded form of a Message. What carries messages may
// have a limit of its own: NOTIFY's is just under 8,000 bytes.
const MaxMessageBytes = 4096

// Message is what engines tell each other through a Broker: a poke, which says
// that a space has a new version and carries no data, or news of who is present
// in a space. Either may be lost, doubled or late: who receives a poke looks into
// the store, and presence is sent again with each heartbeat.
type Message struct {
	// Space is what the message is about. A poke of no space says that the broker
	// has been out of touch, so that anything may have changed.
	Space string `json:"space"`
	// Version is the head that a poke tells of. 0: not known, look. A poke can
	// arrive a moment before its version is visible in the store, if it was made
	// by the database: who then finds an older head looks again.
	Version int64 `json:"version,omitempty"`
	// Presence makes it news of presence: a JSON value that brokers only carry.
	Presence json.RawMessage `json:"presence,omitempty"`
}

// IsPoke reports whether m is a poke. Pokes of one space may be merged: the
// newest version stands for all of them, and version 0 (look, whatever you have)
// for any.
func (m Message) IsPoke() bool { return len(m.Presence) == 0 }

// Encode returns the form in which brokers carry m between processes. It is also
// what somebody else may publish by hand: {"space":"home"}. Error: m is too large,
// or its presence is not JSON.
func (m Message) Encode() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	// Escaped for HTML, one byte of a presence would become six, and what is within
	// the limit where it was said would be over it here.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	text.Truncate(text.Len() - 1) // the encoder's line end
	if text.Len() > MaxMessageBytes {
		return nil, fmt.Errorf("a message of %d bytes is over the limit of %d", text.Len(), MaxMessageBytes)
	}
	return text.Bytes(), nil
}

// ParseMessage reads the encoded form. What comes over a network is not trusted:
// a space's name must be one, or empty.
func ParseMessage(text []byte) (Message, error) {
	if len(text) > MaxMessageBytes {
		return Message{}, errors.New("read a message: too large")
	}
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("read a message: %w", err)
	}
	if m.Space != "" && m.Space != models.CanarySpace && !models.ValidSpace(m.Space) {
		return Message{}, errors.New("read a message: bad space")
	}
	if m.Version < 0 {
		return Message{}, errors.New("read a message: bad version")
	}
	return m, nil
}

// Broker carries messages between engines. The suite in broker/brokertest says
// the same as these comments, as tests.
type Broker interface {
	// Publish sends m to all engines. It doesn't wait for anybody to hear it, and
	// not for a network. It may be called at any time from any goroutine, also
	// while nobody runs. An error means that m will not arrive.
	Publish(ctx context.Context, m Message) error

	// Run calls deliver for each message published meanwhile, one at a time,
	// until ctx ends. Then it returns nil, after the last deliver has returned. An
	// error means that it can't go on; a network that is away is none: Run connects
	// again and again, and each time that it begins to hear, it delivers a poke of
	// no space. Each of several Runs hears every message, also those of its own
	// engine. A deliver that takes long delays messages, not publishers.
	Run(ctx context.Context, deliver func(Message)) error
}
