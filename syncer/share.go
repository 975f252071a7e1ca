package syncer

import (
	"context"
	"sync"
	"weak"

	"github.com/tidemark/tidemark/models"
)

// maxSharedPages bounds the pages of a space that are remembered for sharing.
// Streams that have caught up stand at one cursor for each filter.
const maxSharedPages = 64

// A SharedPage is a page that is read and encoded once for all who stand at the
// same cursor. Nobody may change it.
type SharedPage struct {
	*models.Page

	err  error
	read chan struct{} // closed once Page and err are there

	once sync.Once
	text []byte
}

// Text returns what encode makes of the page. Only the first call encodes, so
// all must bring the same function.
func (p *SharedPage) Text(encode func(*models.Page) []byte) []byte {
	p.once.Do(func() { p.text = encode(p.Page) })
	return p.text
}

// sharedPages are the pages of a space that were read in the present turn. They
// are held weakly: a page lives as long as somebody is sending it, so what is
// shared costs no memory when it is not.
type sharedPages struct {
	mu    sync.Mutex
	turn  int64
	pages map[pageKey]weak.Pointer[SharedPage]
}

// pageKey is what a page depends on, apart from the time at which it is read.
type pageKey struct {
	cursor     string
	filter     uint64
	limit      int
	minVersion int64
}

// Pull is Engine.Pull for the i-th space of the watch. If another stream asked
// for the same since the space last had news, its answer is shared: a thousand
// streams that an edit wakes read and encode it once. It never waits for news.
// Errors: those of Engine.Pull.
func (w *Watch) Pull(ctx context.Context, i int, req PullRequest) (*SharedPage, error) {
	space := w.places[i].space
	req.Wait = 0
	key := pageKey{req.Cursor, filterOf(req.Collections), req.Limit, req.MinVersion}
	page, first := space.pages.find(space.turn.Load(), key)
	if first {
		page.fill(func() (*models.Page, error) { return w.engine.Pull(ctx, space.name, req) })
		return page, page.err
	}
	select {
	case <-page.read:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if page.err == nil {
		return page, nil
	}
	// It may have failed only because its reader's client went away.
	alone, err := w.engine.Pull(ctx, space.name, req)
	return &SharedPage{Page: alone}, err
}

// find returns the page of key, and whether the caller is the first to ask, who
// must fill it. A caller that knows of an earlier turn may have a page of a later
// one: it was read after all that the caller was told.
func (s *sharedPages) find(turn int64, key pageKey) (page *SharedPage, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if turn > s.turn || len(s.pages) >= maxSharedPages {
		clear(s.pages)
		s.turn = max(s.turn, turn)
	}
	if page = s.pages[key].Value(); page != nil {
		return page, false
	}
	if s.pages == nil {
		s.pages = make(map[pageKey]weak.Pointer[SharedPage])
	}
	page = &SharedPage{read: make(chan struct{})}
	s.pages[key] = weak.Make(page)
	return page, true
}

// fill reads the page for all who wait for it.
func (p *SharedPage) fill(read func() (*models.Page, error)) {
	defer close(p.read)
	p.err = context.Canceled // for the others, should read panic
	p.Page, p.err = read()
}
