package api

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/tidemark/tidemark/models"
)

// Why a stream ends, and how its client is told.

// A stream ends after 12 to 18 minutes, so that connections spread over the nodes again
// after one was away, and do not all end together.
const (
	streamAge       = 15 * time.Minute
	streamAgeJitter = 3 * time.Minute
)

// The reasons for which a stream says bye.
const (
	byeShutdown     = "shutdown"
	byeMaxAge       = "max_age"
	byeTokenExpired = "token_expired"
	byeAccessLost   = "access_lost"
	byeUnavailable  = "unavailable"
)

// The reasons without a bye.
const (
	endReset  = "reset"  // a cursor is no good any more
	endClient = "client" // the client has closed
	endSlow   = "slow"   // the client did not read
	endBug    = "bug"    // which the log tells of
)

// endOf returns why a stream has ended: the reason that it has given itself, or what
// its error says.
func endOf(reason string, err error) string {
	switch {
	case reason != "":
		return reason
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endSlow
	default:
		return endClient
	}
}

// errEnded ends a stream that has said all there is to say.
var errEnded = errors.New("the stream has ended")

// part tells the client why the stream ends after err, if that is still to tell.
func (st *stream) part(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errEnded):
		return err
	case errors.Is(err, errCut):
		st.server.log.DebugContext(ctx, "stream cut off", "request_id", st.line.id, "error", err)
		return err
	}
	// Its cursor is good: the client comes back later, or to another node.
	e := told(err)
	if e == nil {
		e = internal(err)
	}
	st.server.logCause(ctx, e, st.line.id, st.line.method, st.line.route)
	return st.bye(byeUnavailable, spread(time.Second, 5*time.Second))
}

// lifetime is how long the stream may last.
func (st *stream) lifetime() time.Duration {
	age := spread(streamAge-streamAgeJitter, streamAge+streamAgeJitter)
	if expires := st.who.Expires; !expires.IsZero() {
		return min(age, time.Until(expires))
	}
	return age
}

// checkRights ends the stream if its client may no longer have what it brings. It is
// called at every wake-up, before anything is sent.
func (st *stream) checkRights() error {
	switch reason := st.reasonToEnd(); reason {
	case "":
		return nil
	case byeUnavailable:
		return st.bye(reason, spread(time.Second, 5*time.Second))
	default:
		return st.bye(reason, spread(0, time.Second))
	}
}

// reasonToEnd returns the reason of a bye if the client's rights, as they are now, are
// one.
func (st *stream) reasonToEnd() string {
	if st.who.Expired(time.Now()) {
		return byeTokenExpired
	}
	st.rights = st.server.rightsChanged() // first, or a change between the two would go unseen
	now, err := st.server.renew(st.who)
	switch {
	case models.CodeOf(err) == models.CodeUnavailable:
		return byeUnavailable
	case err != nil:
		return byeAccessLost
	}
	for i := range st.follows {
		if f := &st.follows[i]; !reaches(now, f.space, f.collections) {
			return byeAccessLost
		}
	}
	return ""
}

// drain ends the stream because the server does.
func (st *stream) drain() error {
	return st.bye(byeShutdown, spread(500*time.Millisecond, 3*time.Second))
}

// bye tells why the stream ends now, and when to come back.
func (st *stream) bye(reason string, retry time.Duration) error {
	data, err := json.Marshal(struct {
		Reason       string `json:"reason"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	}{reason, retry.Milliseconds()})
	if err != nil {
		return err
	}
	if err := st.out.tell(event{name: "bye", data: data, retry: retry}); err != nil {
		return err
	}
	st.events++
	st.ended = reason
	return errEnded
}

// spread returns a time between two: what many clients do, they must not do at
// the same moment.
func spread(least, most time.Duration) time.Duration { return least + rand.N(most-least) }
