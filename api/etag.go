package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// versionTag is the entity tag of a document.
func versionTag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// An entityTag is one member of If-Match or If-None-Match (RFC 9110, section 8.8.3).
type entityTag struct {
	opaque string // what stands between the quotes
	weak   bool
}

// parseTags reads the value of If-Match or If-None-Match. Exactly one of tags and
// star is set if the header is there at all.
func parseTags(r *http.Request, header string) (tags []entityTag, star bool, err error) {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return nil, false, nil
	}
	rest := strings.Trim(strings.Join(values, ","), " \t")
	if rest == "*" {
		return nil, true, nil
	}
	for rest != "" {
		tag, after, ok := cutTag(rest)
		if !ok {
			return nil, false, invalid(header, `must be * or entity tags in double quotes, like "17"`)
		}
		tags = append(tags, tag)
		rest = strings.TrimLeft(after, " \t,")
	}
	if tags == nil {
		return nil, false, invalid(header, "must not be empty")
	}
	return tags, false, nil
}

// cutTag takes the first tag off s.
func cutTag(s string) (tag entityTag, rest string, ok bool) {
	s, tag.weak = strings.CutPrefix(s, "W/")
	s, ok = strings.CutPrefix(s, `"`)
	if !ok {
		return tag, "", false
	}
	tag.opaque, rest, ok = strings.Cut(s, `"`)
	if rest != "" && !strings.ContainsAny(rest[:1], " \t,") {
		return tag, "", false
	}
	return tag, rest, ok
}

// unchanged reports whether If-None-Match of a GET names the tag of the answer:
// then the answer is 304. The comparison is weak, as RFC 9110 wants it here.
func unchanged(c echo.Context, tag string) (bool, error) {
	if sent := c.Request().Header["If-None-Match"]; len(sent) == 1 && sent[0] == tag {
		return true, nil // what most clients send
	}
	tags, star, err := parseTags(c.Request(), "If-None-Match")
	if err != nil || star {
		return star, err
	}
	for _, t := range tags {
		if `"`+t.opaque+`"` == tag {
			return true, nil
		}
	}
	return false, nil
}

// bindPrecondition reads If-Match and If-None-Match of a write into w.
func bindPrecondition(r *http.Request, w *syncer.DocumentWrite) error {
	match, anyVersion, err := parseTags(r, "If-Match")
	if err != nil {
		return err
	}
	none, nothing, err := parseTags(r, "If-None-Match")
	switch {
	case err != nil:
		return err
	case none != nil:
		return invalid("If-None-Match", "must be * on a write")
	case nothing && (match != nil || anyVersion):
		return invalid("If-None-Match", "contradicts If-Match")
	case !nothing && !anyVersion && match == nil:
		return models.Errorf(models.CodePreconditionRequired,
			"Send If-Match with the document's ETag, or If-None-Match with * to create it.")
	}
	w.IfNoneMatch, w.IfMatchAny = nothing, anyVersion
	if match != nil {
		w.IfMatch = versions(match)
	}
	return nil
}

// versions returns the versions that tags name, never nil. The comparison is
// strong, so weak tags name none; neither does what is no version's tag.
func versions(tags []entityTag) []int64 {
	list := make([]int64, 0, len(tags))
	for _, t := range tags {
		v, err := strconv.ParseInt(t.opaque, 10, 64)
		if err == nil && !t.weak && versionTag(v) == `"`+t.opaque+`"` {
			list = append(list, v)
		}
	}
	return list
}
