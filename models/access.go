package models

// APIKey is the row of a key by which a server comes in.
type APIKey struct {
	ID      string `gorm:"primaryKey"` // stands in the key itself, and is no secret
	Hash    []byte // SHA-256 of the key as it is sent
	Name    string // what people call it
	Subject string
	Spaces  string // JSON, as a token's claim: {"board-*": "rw"}

	CreatedAt int64  `gorm:"autoCreateTime:false"` // milliseconds of Unix time, as are the others
	ExpiresAt *int64 // nil: never
	RevokedAt *int64 // nil: it is not
}

// The kinds of revocations.
const (
	RevokedToken   = "token"
	RevokedSubject = "subject"
)

// Revocation is the row of what was taken back before it expired.
type Revocation struct {
	Kind string `gorm:"primaryKey"`
	Name string `gorm:"primaryKey"` // a token's jti, or a subject
	// NotBefore is when it was revoked, in milliseconds of Unix time. The tokens of a
	// subject that were issued up to then are not good.
	NotBefore int64
	// ExpiresAt is when no token that is meant can be alive any more.
	ExpiresAt int64
}

// AuditEntry is the row of something that somebody who administers has done.
type AuditEntry struct {
	ID     int64 `gorm:"primaryKey"`
	At     int64 // milliseconds of Unix time
	Actor  string
	Action string
	Target string
	Detail string
}

// TableName says that there is one log.
func (AuditEntry) TableName() string { return "audit_log" }
