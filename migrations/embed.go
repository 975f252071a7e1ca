// Package migrations holds the schema of both databases as files, the only place
// that makes schema. Each number exists for both dialects, up and down, and
// means the same in both. The store carries them out (its Migrator).
package migrations

import "embed"

// Files holds postgres/ and sqlite/, each NNNNNN_name.{up,down}.sql.
//
//go:embed postgres/*.sql sqlite/*.sql
var Files embed.FS
