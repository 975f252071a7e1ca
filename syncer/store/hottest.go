package store

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// HotSpace is a space, and how much of it has changed lately.
type HotSpace struct {
	ID        string `json:"space"`
	Head      int64  `json:"head"`
	LiveCount int64  `json:"documents"`
	Changed   int    `json:"changed"` // documents; more than a thousand count as a thousand
}

// Hottest returns up to n of the spaces with the newest heads, those in which most
// documents have changed since then first. It goes through the table of spaces: an
// index by head would make every push dearer. The server's own spaces are left out.
func (s *Store) Hottest(ctx context.Context, since time.Time, n int) ([]HotSpace, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	spaces, err := s.hottest(s.reader.WithContext(ctx), since, n)
	return spaces, s.failure(ctx, "look for the hottest spaces", err)
}

func (s *Store) hottest(tx *gorm.DB, since time.Time, n int) (spaces []HotSpace, err error) {
	// Index documents_feed counts, a thousand entries at most.
	err = tx.Raw(`
SELECT newest.id, newest.head, newest.live_count, (
    SELECT count(*)
    FROM (
        SELECT 1
        FROM documents
        WHERE `+s.dialect.feedOf()+` = newest.id
          AND version > ?
        LIMIT 1000
    ) AS lately
) AS changed
FROM (
    SELECT id, head, live_count
    FROM spaces
    WHERE substr(id, 1, 1) <> '_'
    ORDER BY head DESC
    LIMIT ?
) AS newest
ORDER BY changed DESC, head DESC`, since.UnixMicro(), n).Scan(&spaces).Error
	return spaces, err
}
