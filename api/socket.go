package api

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// socketSpace is the stream of one space in frames of a WebSocket, in which the client
// may push and show its presence too.
func (s *Server) socketSpace(c echo.Context) error {
	space, err := readable(c)
	if err != nil {
		return err
	}
	q, err := query(c, "cursor", "limit", "collections", "min_version", ticketParameter)
	if err != nil {
		return err
	}
	req, err := bindPage(q)
	if err != nil {
		return err
	}
	cursor, err := single(q, "cursor")
	if err != nil {
		return err
	}
	if err := s.checkHandshake(c.Request()); err != nil {
		return err
	}
	return s.stream(c, &stream{follows: []follow{{space: space, cursor: cursor}}, req: req, upgrade: true})
}

// checkHandshake finds everything that is wrong with a handshake, so that the library,
// which does not know problem+json, has nothing left to say.
func (s *Server) checkHandshake(r *http.Request) error {
	h := r.Header
	key, err := base64.StdEncoding.DecodeString(strings.Join(h.Values("Sec-WebSocket-Key"), ","))
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !names(h, "Connection", "upgrade") || !names(h, "Upgrade", "websocket"):
		return models.Errorf(models.CodeUpgradeRequired, "This is a WebSocket; a proxy that doesn't pass Upgrade on may be in between. Without one, push and take the stream.")
	case h.Get("Sec-WebSocket-Version") != "13":
		return invalid("Sec-WebSocket-Version", "must be 13")
	case err != nil || len(key) != 16:
		return invalid("Sec-WebSocket-Key", "must be base64 of 16 bytes, once")
	}
	// Browsers let every page open sockets, and say only here whose it is.
	for _, origin := range h.Values(echo.HeaderOrigin) {
		if u, err := url.Parse(origin); !s.knows(origin) && (err != nil || !strings.EqualFold(u.Host, r.Host)) {
			return models.Errorf(models.CodeForbidden, "Pages of %s may not call: it is not in --cors-origins.", models.Cut(origin, 128))
		}
	}
	return nil
}

// names reports whether a header that is a list has a token.
func names(h http.Header, header, token string) bool {
	return slices.ContainsFunc(h.Values(header), func(line string) bool {
		return slices.ContainsFunc(strings.Split(line, ","), func(one string) bool { return strings.EqualFold(strings.TrimSpace(one), token) })
	})
}

// accept takes the connection as a socket. Its frames are not compressed: a compressor
// for each would take more memory than all else of a stream.
func (st *stream) accept(r *request) (*socket, error) {
	taken := &taking{ResponseWriter: r.Response(), streams: st.server.streams}
	conn, err := websocket.Accept(taken, r.Request(), &websocket.AcceptOptions{
		InsecureSkipVerify: true, // of the origin, by patterns; see checkHandshake
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	conn.SetReadLimit(maxFrameBytes)
	return &socket{conn: conn, line: taken.line, log: st.server.log, carryOut: st.carryOut}, nil
}

// taking gives the library a connection whose writes are paced.
type taking struct {
	http.ResponseWriter
	streams *streams
	line    *paced
}

// Hijack implements http.Hijacker.
func (t *taking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.line = &paced{Conn: conn, pace: pace{conn: conn, streams: t.streams}}
	buffers.Writer.Reset(t.line)
	return t.line, buffers, nil
}

// closeCodes are what a socket closes with after a bye. The frame says more, and comes first.
var closeCodes = map[string]websocket.StatusCode{
	byeShutdown:     websocket.StatusGoingAway,
	byeMaxAge:       websocket.StatusNormalClosure,
	byeTokenExpired: websocket.StatusPolicyViolation,
	byeAccessLost:   websocket.StatusPolicyViolation,
	byeUnavailable:  websocket.StatusTryAgainLater,
	endReset:        websocket.StatusNormalClosure,
	"":              websocket.StatusNormalClosure, // the client has closed
}
