package models

import "regexp"

// NamePattern is the form of collection, id, client_id and edit_id. ASCII only:
// no two names look alike, and a name is safe in a URL, a log line and a header.
const NamePattern = `^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`

// SpacePattern is the form of a space's name.
const SpacePattern = `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`

var (
	nameForm  = regexp.MustCompile(NamePattern)
	spaceForm = regexp.MustCompile(SpacePattern)
)

// ValidName reports whether s may name a collection, a document, a client or an edit.
func ValidName(s string) bool { return nameForm.MatchString(s) }

// ValidSpace reports whether s may name a space.
func ValidSpace(s string) bool { return spaceForm.MatchString(s) }
