package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/tidemark/tidemark/models"
)

// Stats is what a database holds. Spaces of the servers' own are left out of the counts
// of spaces and documents.
type Stats struct {
	Spaces     int64 `json:"spaces"`
	Documents  int64 `json:"documents"`
	Tombstones int64 `json:"tombstones"`
	Clients    int64 `json:"clients"`
	// Bytes is what the database takes on disk, with its indexes.
	Bytes int64 `json:"bytes"`

	Largest     []SpaceStats `json:"largest"` // by documents
	WrittenLast []SpaceStats `json:"written_last"`
	// Hot are those of which something has changed within the last minute, most first.
	Hot []HotSpace `json:"hot"`
}

// SpaceStats is what a space holds.
type SpaceStats struct {
	Space      string `json:"space"`
	Documents  int64  `json:"documents"`
	Tombstones int64  `json:"tombstones"`
	Clients    int64  `json:"clients"`
	// Bytes are those of its documents' texts.
	Bytes   int64 `json:"bytes"`
	Head    int64 `json:"head"`
	Written int64 `json:"written_at"` // milliseconds of Unix time; 0: never
}

// Stats counts. Once it goes through all rows of spaces, through the indexes of tombstones
// and of clients, and along the documents of the top spaces, whose texts it does not read.
func (s *Store) Stats(ctx context.Context, top int) (stats Stats, err error) {
	now, err := s.Now(ctx)
	if err != nil {
		return stats, err
	}
	err = s.reader.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := s.dialect.unhurried(tx); err != nil {
			return err
		}
		err := errors.Join(
			tx.Raw(`SELECT count(*), COALESCE(sum(live_count), 0) FROM spaces WHERE id NOT LIKE '\_%' ESCAPE '\'`).
				Row().Scan(&stats.Spaces, &stats.Documents),
			tx.Raw(`SELECT count(*) FROM documents WHERE deleted`).Scan(&stats.Tombstones).Error,
			tx.Raw(`SELECT count(*) FROM clients`).Scan(&stats.Clients).Error,
			tx.Raw(s.dialect.sizeOnDisk()).Scan(&stats.Bytes).Error,
		)
		if err != nil {
			return err
		}
		if stats.Largest, err = topSpaces(tx.Order("live_count DESC, id"), tx, top); err != nil {
			return err
		}
		if stats.WrittenLast, err = topSpaces(tx.Order("head DESC, id"), tx, top); err != nil {
			return err
		}
		stats.Hot, err = s.hot(tx, now, top)
		return err
	}, s.dialect.snapshot())
	return stats, s.failure(ctx, "count", err)
}

// hotAmong is how many of the spaces that were written last are looked at for the hot ones.
const hotAmong = 1000

func (s *Store) hot(tx *gorm.DB, now time.Time, top int) ([]HotSpace, error) {
	if top == 0 {
		return []HotSpace{}, nil
	}
	spaces, err := s.hottest(tx, now.Add(-time.Minute), max(top, hotAmong))
	spaces = slices.DeleteFunc(spaces, func(space HotSpace) bool { return space.Changed == 0 })
	return append([]HotSpace{}, spaces[:min(top, len(spaces))]...), err // never null in JSON
}

func topSpaces(ordered, tx *gorm.DB, top int) ([]SpaceStats, error) {
	var rows []models.Space
	err := ordered.Where(`id NOT LIKE '\_%' ESCAPE '\'`).Limit(top).Find(&rows).Error
	list := make([]SpaceStats, 0, len(rows))
	for i := range rows {
		r := SpaceStats{Space: rows[i].ID, Documents: rows[i].LiveCount, Head: rows[i].Head, Written: rows[i].Head / 1000}
		if err == nil {
			// Index documents_tombstones; primary keys.
			err = tx.Raw(`
SELECT (SELECT count(*) FROM documents WHERE space_id = ? AND deleted),
       (SELECT count(*) FROM clients WHERE space_id = ?),
       (SELECT COALESCE(sum(size), 0) FROM documents WHERE space_id = ?)`, r.Space, r.Space, r.Space).
				Row().Scan(&r.Tombstones, &r.Clients, &r.Bytes)
		}
		list = append(list, r)
	}
	return list, err
}
