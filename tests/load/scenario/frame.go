package scenario

import (
	"bytes"
	"fmt"
	"regexp"
	"sync"

	"github.com/tidemark/tidemark/tests/load/wire"
)

// frames keeps the newest event of one change that a stream of a node brought,
// so that the bare server can send the same bytes.
type frames struct {
	mu   sync.Mutex
	last []byte
}

var editNumber = regexp.MustCompile(`"edit_id":"client-0-[0-9]+"`)

func (f *frames) keep(event wire.Event) {
	if bytes.Count(event.Data, []byte(`"edit_id":`)) != 1 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = fmt.Appendf(f.last[:0], "id: %s\nevent: %s\ndata: %s\n\n", event.ID, event.Name, event.Data)
}

// numbered returns a copy of the newest frame, as if it told of the edit of
// this running number; nil if there is none.
func (f *frames) numbered(edit uint64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		return nil
	}
	return editNumber.ReplaceAll(f.last, fmt.Appendf(nil, `"edit_id":"client-0-%d"`, edit))
}
