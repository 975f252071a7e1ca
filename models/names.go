package models

// NamePattern is the form of collection, id, client_id and edit_id. ASCII only:
// no two names look alike, and a name is safe in a URL, a log line and a header.
const NamePattern = `^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`

// SpacePattern is the form of a space's name.
const SpacePattern = `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`

// ValidName reports whether s may name a collection, a document, a client or an edit.
func ValidName(s string) bool {
	return len(s) <= MaxNameBytes && named(s, ":")
}

// ValidSpace reports whether s may name a space.
func ValidSpace(s string) bool {
	return len(s) <= MaxSpaceBytes && named(s, "")
}

// CanarySpace is where nodes write their beats. Names of spaces begin with a letter or a
// digit, so no client can name it.
const CanarySpace = "_canary"

// OwnSpace reports whether a space is the server's own: its name begins with _.
func OwnSpace(name string) bool { return name != "" && name[0] == '_' }

// named is both patterns without their lengths, as a loop: every edit of a push
// is asked four times, and a regexp would be a fifth of the work of decoding it.
func named(s, also string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-' || also != "" && c == also[0]):
		default:
			return false
		}
	}
	return s != ""
}
