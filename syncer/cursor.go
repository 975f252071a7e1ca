package syncer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/models"
)

// cursor says how far a client has come, and in which history. It is all the
// state that a pull has: the server keeps none between two pages.
type cursor struct {
	// start: there is no cursor yet, a snapshot begins. Never on the wire. The
	// cursor of an empty space, at position 0, is another thing: its client may
	// hold documents that it pushed since, so it must hear of their tombstones.
	start bool
	// position is the version up to which the client has seen the feed.
	position int64
	// began is the head at which a snapshot began, while position is below it; 0
	// otherwise. Tombstones up to began are not shown to the client, which never
	// held what they deleted.
	began int64
	// seen is the newest head at which any page since the last one without
	// has_more was read; 0 after such a page. Between two pages of a feed the
	// client holds documents from above position: each document comes in its
	// newest state. So not position but seen tells which history it knows.
	seen int64
	// epoch is the lifetime of the database in which the page was read; 0 as
	// long as the client has seen nothing.
	epoch int64
	// filter is the hash of the collections that the pull was limited to, 0 for all.
	filter uint64
}

// newest is the newest version that the client may know of.
func (c cursor) newest() int64 { return max(c.position, c.seen) }

// inSnapshot reports whether c stands between two pages of a snapshot.
func (c cursor) inSnapshot() bool { return c.began > c.position }

// from is the version from which on c's client needs every tombstone: a snapshot does
// not need those of what was deleted before it began.
func (c cursor) from() int64 {
	if c.inSnapshot() {
		return c.began
	}
	return c.position
}

// The wire form is base64url of: one byte format, the five fields as big-endian
// 64-bit integers, and a hash of the space's name and what precedes. That guards
// against mix-ups, not against forgers: a cursor grants nothing, every pull is
// authorized on its own.
const (
	cursorFormat   = 1
	cursorPayload  = 1 + 5*8
	cursorChecksum = 8
)

var cursorEncoding = base64.RawURLEncoding.Strict()

// encode returns the wire form of c for a space.
func (c cursor) encode(space string) string {
	b := make([]byte, 0, cursorPayload+cursorChecksum)
	b = append(b, cursorFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(c.position))
	b = binary.BigEndian.AppendUint64(b, uint64(c.began))
	b = binary.BigEndian.AppendUint64(b, uint64(c.seen))
	b = binary.BigEndian.AppendUint64(b, uint64(c.epoch))
	b = binary.BigEndian.AppendUint64(b, c.filter)
	b = binary.BigEndian.AppendUint64(b, cursorSum(space, b))
	return cursorEncoding.EncodeToString(b)
}

func cursorSum(space string, payload []byte) uint64 {
	return mix(fnv(fnvZero(fnv(fnvOffset, space)), payload))
}

// openCursor reads a cursor of a space and a filter; "" is the cursor before the
// first page of a snapshot. Errors: CodeInvalidCursor for a damaged cursor or
// one of another space, CodeCursorExpired for one of another filter.
func openCursor(text, space string, filter uint64) (cursor, error) {
	if text == "" {
		return cursor{start: true, filter: filter}, nil
	}
	c, err := readCursor(text, space)
	if err != nil {
		return cursor{}, err
	}
	if c.filter != filter {
		return cursor{}, expired(models.CauseFilter,
			"The cursor was made with other collections; start again without a cursor.")
	}
	return c, nil
}

// readCursor is openCursor for any filter, and "" is no cursor to it.
func readCursor(text, space string) (cursor, error) {
	b, err := cursorEncoding.DecodeString(text)
	// The length of the text tells apart what base64 decoding ignores: line ends.
	if err != nil || len(text) != cursorEncoding.EncodedLen(cursorPayload+cursorChecksum) ||
		len(b) != cursorPayload+cursorChecksum || b[0] != cursorFormat {
		return cursor{}, models.Errorf(models.CodeInvalidCursor, "This is not a cursor that the server has given out.")
	}
	payload, sum := b[:cursorPayload], binary.BigEndian.Uint64(b[cursorPayload:])
	if sum != cursorSum(space, payload) {
		return cursor{}, models.Errorf(models.CodeInvalidCursor, "The cursor is damaged or belongs to another space.")
	}
	next := func() uint64 {
		v := binary.BigEndian.Uint64(b[1:])
		b = b[8:]
		return v
	}
	c := cursor{
		position: int64(next()),
		began:    int64(next()),
		seen:     int64(next()),
		epoch:    int64(next()),
		filter:   next(),
	}
	return c, nil
}

// Position returns the version up to which the holder of a cursor has seen the feed of
// a space, 0 for what is no cursor of it: for the log.
func Position(text, space string) int64 {
	c, err := readCursor(text, space)
	if err != nil {
		return 0
	}
	return c.position
}

// check compares c, and the newest version that a push has answered to its client,
// with the space's row as it is now. Error: CodeCursorExpired.
func (c cursor) check(s models.Space, acknowledged int64) error {
	if c.start {
		return nil
	}
	if c.from() < s.DeletedThrough {
		return expired(models.CauseDeleted, "The space was deleted. Start again without a cursor.")
	}
	newest := c.newest()
	if newest > s.Head {
		return expired(models.CauseEpoch, "The cursor is ahead of the space: its history was lost. Start again without a cursor.")
	}
	if err := checkAcknowledged(s, acknowledged); err != nil {
		return err
	}
	if newest > 0 && c.epoch != s.Epoch {
		past, err := parseEpochs(s.PastEpochs)
		if err != nil {
			return err
		}
		if !past.reaches(c.epoch, newest) {
			return expired(models.CauseEpoch, "The cursor is of a history that was lost. Start again without a cursor.")
		}
	}
	if c.from() < s.Floor {
		return expired(models.CauseRetention, "The cursor is older than the retention. Start again without a cursor.")
	}
	return nil
}

// checkAcknowledged compares the newest version that a push has answered to a client, 0 if
// none did, with the space's row as it is now. Error: CodeCursorExpired if it is lost.
func checkAcknowledged(s models.Space, acknowledged int64) error {
	if acknowledged == 0 {
		return nil
	}
	if acknowledged > s.Head {
		return pushLost()
	}
	lost, err := lostIn(s.PastEpochs, acknowledged)
	if err == nil && lost {
		err = pushLost()
	}
	return err
}

func pushLost() error {
	return expired(models.CauseEpoch, "The space has not got min_version: an acknowledged push was lost. Start again without a cursor.")
}

func expired(cause models.Cause, detail string) error {
	return &models.Error{Code: models.CodeCursorExpired, Cause: cause, Detail: detail}
}

// next returns the cursor after a page that was read from c.
func (c cursor) next(run Run) cursor {
	head := run.Space.Head
	n := cursor{position: run.Through, epoch: run.Space.Epoch, filter: c.filter}
	if n.position < head {
		n.seen = max(c.seen, head)
	}
	began := c.began
	if c.start {
		began = head
	}
	if began > n.position {
		n.began = began
	}
	if head == 0 {
		n.epoch = 0 // nothing seen yet: good in every epoch
	}
	return n
}

// filterOf returns the hash of a set of collections, 0 for none, which means all.
func filterOf(collections []string) uint64 {
	if len(collections) == 0 {
		return 0
	}
	set := slices.Clone(collections)
	slices.Sort(set)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(set), "\x00")))
	return max(binary.BigEndian.Uint64(sum[:]), 1) // 0 is taken
}
