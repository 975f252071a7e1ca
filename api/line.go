package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// maxAttributes is more than a line has; so they need no memory of their own.
const maxAttributes = 32

// logRequest writes one line per request.
func (s *Server) logRequest(r *request) {
	level := slog.LevelInfo
	if path := r.Path(); path == "/healthz" || path == "/readyz" {
		level = slog.LevelDebug
	}
	ctx := r.Request().Context()
	if !s.log.Enabled(ctx, level) {
		return // before the line is put together
	}
	line := s.lineOf(r)
	var space [maxAttributes]slog.Attr
	attrs := line.appendTo(space[:0], r.Response().Status, r.Response().Size)
	if r.code != "" {
		attrs = append(attrs, slog.String("code", string(r.code)))
	}
	attrs = appendWork(attrs, &r.working.Work, s.log.Enabled(ctx, slog.LevelDebug))
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// logLine is what the log tells of a request, whatever it was: no token, no query
// (cursors), no body.
type logLine struct {
	id, method, route, path, subject, space string
	address                                 netip.Addr
	began                                   time.Time
}

func (s *Server) lineOf(r *request) logLine {
	line := logLine{
		id: r.id[0], method: r.Request().Method, route: r.Path(), path: models.Cut(r.Request().URL.Path, 256),
		subject: principal(r).Subject, address: clientAddress(r.Request(), s.opts.TrustedProxies), began: r.began,
	}
	if models.ValidSpace(r.space) { // what is none could be a token that went astray
		line.space = r.space
	}
	return line
}

func (l *logLine) appendTo(attrs []slog.Attr, status int, bytes int64) []slog.Attr {
	attrs = append(attrs,
		slog.String("request_id", l.id),
		slog.String("method", l.method),
		slog.String("path", l.path),
		slog.Int("status", status),
		slog.Int64("bytes", bytes),
		slog.Int64("ms", time.Since(l.began).Milliseconds()),
		slog.String("subject", l.subject),
		slog.String("address", l.address.String()),
	)
	if l.space != "" {
		attrs = append(attrs, slog.String("space", l.space))
	}
	return attrs
}

// appendWork appends what answers "was my edit lost?": whose edits came, what became of
// each, between which versions of the space, and up to where a client has seen it.
func appendWork(attrs []slog.Attr, w *syncer.Work, debug bool) []slog.Attr {
	attrs = append(attrs, slog.Float64("db_ms", milliseconds(w.Stored)))
	if w.Pushed != nil {
		attrs = append(attrs, slog.Float64("queue_ms", milliseconds(w.Queued)))
		attrs = appendPushed(attrs, w.Pushed, debug)
	}
	if w.Pulled {
		attrs = append(attrs,
			slog.Int64("cursor_in", w.From),
			slog.Int64("cursor_out", w.To),
			slog.Int("changes", w.Changes),
		)
	}
	if w.Source != "" {
		attrs = append(attrs, slog.String("source", w.Source))
	}
	return attrs
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func appendPushed(attrs []slog.Attr, p *syncer.Pushed, debug bool) []slog.Attr {
	attrs = append(attrs, slog.String("client_id", p.ClientID), slog.Int("edits", p.Edits))
	if p.Results != nil {
		n := countFates(p.Results)
		attrs = append(attrs,
			slog.Int("applied", n.applied),
			slog.Int("merged", n.merged),
			slog.Int("conflict", n.conflict),
			slog.Int("rejected", n.rejected),
			slog.Int("skipped", n.skipped),
			slog.Int("replayed", n.replayed),
			slog.Int64("version_from", p.From),
			slog.Int64("version_to", p.To),
		)
	}
	if debug {
		attrs = append(attrs, slog.Any("edit_ids", fates(p)))
	}
	return attrs
}

// fateCounts counts by the names of the wire: each edit has one status, and an applied
// one may be merged, too, and any may be replayed.
type fateCounts struct{ applied, merged, conflict, rejected, skipped, replayed int }

func countFates(results []models.EditResult) (n fateCounts) {
	for i := range results {
		r := &results[i]
		switch r.Status {
		case models.StatusApplied:
			n.applied++
		case models.StatusConflict:
			n.conflict++
		case models.StatusRejected:
			n.rejected++
		case models.StatusSkipped:
			n.skipped++
		}
		if r.Merged {
			n.merged++
		}
		if r.Replayed {
			n.replayed++
		}
	}
	return n
}

// fates returns each edit's id with what became of it: "e1=applied".
func fates(p *syncer.Pushed) []string {
	list := p.EditIDs()
	for i := range list {
		fate := "unanswered" // the push failed as a whole, as code says
		if p.Results != nil {
			fate = string(p.Results[i].Status)
		}
		list[i] += "=" + fate
	}
	return list
}

// appendStream appends why a stream ended, what it brought, and the versions of each
// space up to which its client had come before and after.
func appendStream(attrs []slog.Attr, st *stream) []slog.Attr {
	attrs = append(attrs, slog.String("ended", st.ended), slog.Int("events", st.events))
	if !st.several {
		f := &st.follows[0]
		return append(attrs, slog.Int64("version_from", f.from), slog.Int64("version_to", syncer.Position(f.cursor, f.space)))
	}
	spaces := make([]string, len(st.follows))
	for i := range st.follows {
		f := &st.follows[i]
		spaces[i] = fmt.Sprintf("%s=%d-%d", f.space, f.from, syncer.Position(f.cursor, f.space))
	}
	return append(attrs, slog.Any("versions", spaces))
}

func (l *logLine) write(ctx context.Context, log *slog.Logger, status int, bytes int64, more ...slog.Attr) {
	var space [maxAttributes]slog.Attr
	attrs := append(l.appendTo(space[:0], status, bytes), more...)
	log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}
