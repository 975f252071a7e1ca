package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// An encoder appends its wire form, documents byte for byte.
type encoder interface{ AppendJSON(b []byte) []byte }

// write answers with v.
func write(c echo.Context, status int, v encoder) error {
	body := v.AppendJSON(nil)
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}

// notModified answers that the client has it all.
func notModified(c echo.Context) error { return c.NoContent(http.StatusNotModified) }
