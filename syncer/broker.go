package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark/tidemark/models"
)

// MaxMessageBytes bounds the encoded form of a Message.
const MaxMessageBytes = 4096

// Message is what engines tell each other through a Broker: a poke, which says
// that a space has a new version and carries no data, or news of who is present
// in a space. Either may be lost, doubled or late: who receives a poke looks into
// the store, and presence is sent again with each heartbeat.
type Message struct {
	// Space is what the message is about. A poke of no space says that the broker
	// has been out of touch, so that anything may have changed.
	Space string `json:"space"`
	// Version is the head that a poke tells of. 0: not known, look.
	Version int64 `json:"version,omitempty"`
	// Presence makes it news of presence: a JSON value that brokers only carry.
	Presence json.RawMessage `json:"presence,omitempty"`
}

// IsPoke reports whether m is a poke. Pokes of one space may be merged: the
// newest version stands for all of them.
func (m Message) IsPoke() bool { return m.Presence == nil }

// Encode returns the form in which brokers carry m between processes. It is also
// what somebody else may publish by hand: {"space":"home"}. Error: m is too large.
func (m Message) Encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err == nil && len(text) > MaxMessageBytes {
		err = fmt.Errorf("a message of %d bytes is over the limit of %d", len(text), MaxMessageBytes)
	}
	return text, err
}

// ParseMessage reads the encoded form. What comes over a network is not trusted:
// a space's name must be one, or empty.
func ParseMessage(text []byte) (Message, error) {
	var m Message
	if len(text) > MaxMessageBytes {
		return m, errors.New("message too large")
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("read a message: %w", err)
	}
	if m.Space != "" && !models.ValidSpace(m.Space) {
		return Message{}, errors.New("read a message: bad space")
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
	// again, and then delivers a poke of no space. Each of several Runs hears every
	// message, also those of its own engine. A deliver that takes long delays
	// messages, not publishers.
	Run(ctx context.Context, deliver func(Message)) error
}
