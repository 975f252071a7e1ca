package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/auth"
	"github.com/tidemark/tidemark/models"
)

var tooManyCollections = fmt.Sprintf("a filter has at most %d collections", models.MaxCollections)

// invalid says what is wrong with a header or a parameter.
func invalid(name, detail string) *models.Error {
	return &models.Error{
		Code: models.CodeInvalidRequest, Detail: badForm,
		Fields: []models.FieldError{{Pointer: name, Detail: detail}},
	}
}

// param returns a path parameter, unescaped once (see Server.ServeHTTP).
func param(c echo.Context, name string) string {
	value, err := url.PathUnescape(c.Param(name))
	if err != nil {
		return "" // unreachable: net/http has refused the request
	}
	return value
}

// readable returns the space of the request, if its sender may see it.
func readable(c echo.Context) (string, error) {
	space := param(c, "space")
	return space, mayRead(c, space)
}

// mayRead looks at the token first: of a space that it does not name nothing is
// told, not even whether that could be one.
func mayRead(c echo.Context, space string) error {
	if r, ok := c.(*request); ok {
		r.space = space
	}
	if !principal(c).CanRead(space) {
		return noSpace()
	}
	if !models.ValidSpace(space) {
		return models.Errorf(models.CodeInvalidSpace, "A space has 1 to 63 letters, digits, dots, underscores and dashes, and begins with a letter or digit.")
	}
	return nil
}

func noSpace() error {
	return models.Errorf(models.CodeSpaceNotFound, "There is no such space, or the token does not name it.")
}

// writable returns the space of the request, if its sender may change it.
func writable(c echo.Context) (string, error) {
	space, err := readable(c)
	if err != nil {
		return "", err
	}
	if !principal(c).CanWrite(space) {
		return "", readOnly()
	}
	return space, nil
}

func readOnly() error {
	return models.Errorf(models.CodeForbidden, "The token may only read this space.")
}

// visible returns the collections of space that the request is shown if it asks for
// some; none means all, both times.
func visible(c echo.Context, space string, asked []string) ([]string, error) {
	return visibleTo(principal(c), space, asked)
}

func visibleTo(who *auth.Principal, space string, asked []string) ([]string, error) {
	shown, ok := who.Filter(space, asked)
	if !ok {
		return nil, notReached()
	}
	return shown, nil
}

func notReached() error {
	return models.Errorf(models.CodeForbidden, "The token does not reach all of these collections.")
}

// reaches reports whether who may have just what visible once returned.
func reaches(who *auth.Principal, space string, shown []string) bool {
	now, ok := who.Filter(space, shown)
	return ok && len(now) == len(shown)
}

// mayStillRead is for what has taken time: the sender's rights may be others by now.
func (s *Server) mayStillRead(c echo.Context, space string, shown []string) error {
	now, err := s.renew(principal(c))
	switch {
	case err != nil:
		return err
	case !now.CanRead(space):
		return noSpace()
	case !reaches(now, space, shown):
		return notReached()
	}
	return nil
}

// query reads the query of a request. Parameters that are none of names are
// errors: a filter that is misspelled must not bring everything.
func query(c echo.Context, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, invalid("query", "is not well-formed")
	}
	for name := range values {
		if !slices.Contains(names, name) {
			return nil, invalid(models.Cut(name, 64), "is not a parameter of this operation")
		}
	}
	return values, nil
}

// single returns a parameter that may be there once, "" if it is not.
func single(values url.Values, name string) (string, error) {
	if len(values[name]) > 1 {
		return "", invalid(name, "must be there once")
	}
	return values.Get(name), nil
}

// integer returns a parameter made of digits, 0 if it is not there.
func integer(values url.Values, name string, least, most int64) (int64, error) {
	text, err := single(values, name)
	if err != nil || !values.Has(name) {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most || text[0] < '0' || text[0] > '9' {
		return 0, invalid(name, "must be an integer from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return n, nil
}

// list returns a parameter that may be repeated and may hold commas, each value once.
func list(values url.Values, name string) []string {
	if !values.Has(name) {
		return nil
	}
	var all []string
	seen := make(map[string]bool)
	for _, v := range values[name] {
		for one := range strings.SplitSeq(v, ",") {
			if !seen[one] {
				seen[one] = true
				all = append(all, one)
			}
		}
	}
	return all
}
