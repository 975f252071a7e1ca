package api

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// An encoder appends its wire form, documents byte for byte.
type encoder interface{ AppendJSON(b []byte) []byte }

// bodies are the buffers in which answers are put together. One that has become
// larger than keepBody is left to the collector.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

const keepBody = 2 * models.MaxPageBytes

// write answers with v.
func write(c echo.Context, status int, v encoder) error {
	buffer, _ := bodies.Get().(*[]byte)
	body := v.AppendJSON((*buffer)[:0])
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	err := respond(c, status, body)
	if *buffer = body; cap(body) <= keepBody {
		bodies.Put(buffer)
	}
	return err
}

func respond(c echo.Context, status int, body []byte) error {
	blob := func() error { return c.Blob(status, echo.MIMEApplicationJSON, body) }
	if conn := corkOf(c.Request(), len(body)); conn != nil {
		return conn.inOne(c.Response(), blob)
	}
	return blob()
}

// notModified answers that the client has it all.
func notModified(c echo.Context) error { return c.NoContent(http.StatusNotModified) }
