package syncer

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// eraseDocuments and eraseBytes bound one transaction of a deletion, and so how long
	// a push may have to wait for it: to another space on SQLite, which has one writer.
	eraseDocuments = 1000
	eraseBytes     = 16 << 20

	// eraseTries is how often a transaction is tried whose space somebody has locked.
	eraseTries = 10
)

// Erasure says what one transaction of a deletion may take.
type Erasure struct {
	After     Key   // documents whose names come after this one
	Documents int   // and as many clients
	Bytes     int64 // of the documents' texts; one document comes nevertheless
	// Actor, if it is not empty, has the deletion written into the audit log.
	Actor string
	// Account gets the space's row and what is taken from it, without texts, and makes
	// of the row what it is afterwards.
	Account func(space *models.Space, now int64, gone []models.Document)
}

// Erased is what a Store has taken out of a space.
type Erased struct {
	Documents, Clients int
	Found              bool // there is such a space
	More               bool // there is more to take, after Last
	Last               Key
}

// DeleteSpace deletes the documents of a space, its clients with their receipts, and
// what waits in the inbox for it, in transactions so small that nobody waits long. Each
// of them takes a version and leaves a space that is whole: whoever was shown anything
// before it is told to start again, and goes on with what is left. The row stays, and
// its head: so versions never go back and old cursors are refused, also once the name is
// used again. What is pushed while it deletes is deleted too; what is pushed after it
// has returned begins the space anew. Errors: those of Store.
func (e *Engine) DeleteSpace(ctx context.Context, space, actor string) (all Erased, err error) {
	failures := 0
	for after := (Key{}); ; {
		done, err := e.store.Erase(ctx, space, Erasure{
			After: after, Documents: eraseDocuments, Bytes: eraseBytes, Actor: actor, Account: erase,
		})
		if err != nil {
			if failures++; failures >= eraseTries || models.CodeOf(err) != models.CodeUnavailable || !pause(ctx, time.Second/2) {
				return all, err
			}
			continue
		}
		failures = 0
		all.Documents += done.Documents
		all.Clients += done.Clients
		all.Found = done.Found
		actor = "" // once in the log
		switch {
		case done.More:
			after = done.Last // PostgreSQL would have to step over all that is deleted
		case after != Key{}:
			after = Key{} // something may have been pushed before it meanwhile
		default:
			return all, nil
		}
	}
}

// erase leaves the marker: floor and deletion are the version that this takes, so every
// cursor of before is below them. The epoch stays as it is: nothing is written that
// somebody could have been shown in a history that was lost.
func erase(s *models.Space, now int64, gone []models.Document) {
	if s.Head == 0 {
		return // nobody was ever shown anything
	}
	for i := range gone {
		account(s, &gone[i], nil)
	}
	s.Head = max(s.Head+1, now)
	s.Floor, s.DeletedThrough = s.Head, s.Head
}

// pause waits, and reports false if ctx has ended.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
