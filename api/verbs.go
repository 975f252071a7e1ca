package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// This file is what a client may do in the frames of a socket. Each is judged as the
// request that it stands for would be: by the rights of now, the rate, the form.

// carryOut carries out the frame that text is, and returns the answer to it.
func (st *stream) carryOut(ctx context.Context, text []byte) []byte {
	began := time.Now()
	working := &syncer.Working{Context: ctx}
	f, err := decodeFrame(text)
	var answer []byte
	status := http.StatusOK
	if limited := st.server.countSubject(st.who.Subject); limited != nil {
		err = limited // whatever it is: what is no good costs, too
	}
	if err == nil {
		answer, err = st.do(working, f) //nolint:contextcheck // it is ctx, with room for notes
	}
	if err != nil {
		e := told(err)
		if e == nil {
			e = internal(err)
		}
		answer, status = st.refuse(ctx, f.ref, e), kinds[e.Code].status
	}
	attrs := []slog.Attr{
		slog.String("request_id", st.line.id), slog.String("verb", f.verb()), slog.String("ref", f.ref), slog.Int("status", status),
		slog.Int("bytes", len(answer)), slog.Int64("ms", time.Since(began).Milliseconds()), slog.String("subject", st.line.subject),
		slog.String("space", st.follows[0].space),
	}
	log := st.server.log
	log.LogAttrs(ctx, slog.LevelInfo, "frame", appendWork(attrs, &working.Work, log.Enabled(ctx, slog.LevelDebug))...)
	return answer
}

func (st *stream) do(ctx context.Context, f clientFrame) ([]byte, error) {
	space := st.follows[0].space
	who, err := st.rightsNow(space)
	if err != nil {
		return nil, err
	}
	if f.push == nil {
		return nil, st.server.presence.Enter(ctx, space, f.clientID, st.who.Subject, f.presence)
	}
	if !st.who.CanWrite(space) || !who.CanWrite(space) { // a ticket may give less than what it was got for
		return nil, readOnly()
	}
	res, err := st.server.carryOut(ctx, st.who, space, f.push)
	if err != nil {
		return nil, err
	}
	return frame("pushed", f.ref, res.AppendJSON(nil)), nil
}

// rightsNow returns the client with its rights of now, which are at least those that the
// socket was opened with, or for writing only less.
func (st *stream) rightsNow(space string) (*auth.Principal, error) {
	if st.who.Expired(time.Now()) {
		return nil, models.Errorf(models.CodeUnauthenticated, "The token is expired.")
	}
	now, err := st.server.renew(st.who)
	switch {
	case err != nil:
		return nil, err
	case !now.CanRead(space):
		return nil, noSpace()
	case !reaches(now, space, st.who.Collections(space)):
		return nil, notReached()
	}
	return now, nil
}

// refuse returns the answer to a frame with which something is wrong.
func (st *stream) refuse(ctx context.Context, ref string, e *models.Error) []byte {
	st.server.logCause(ctx, e, st.line.id, st.line.method, st.line.route)
	st.server.audit(ctx, e, denial{st.line.subject, st.follows[0].space, st.line.id, st.line.address})
	problem := problemOf(e, st.line.id)
	b := frame("error", ref, problem.encode(e.Current))
	if e.RetryAfter > 0 { // what a header says of an answer
		b = append(b[:len(b)-1], `,"retry_after_ms":`...)
		b = append(strconv.AppendInt(b, max(e.RetryAfter.Milliseconds(), 1), 10), '}')
	}
	return b
}
