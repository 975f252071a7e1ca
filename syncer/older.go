package syncer

import "sync"

// maxKnown bounds the older receipts that a node remembers, about 6 kB each.
const maxKnown = 2048

// olderReceipts are the older receipts of the clients that have pushed last. They
// are many, change with one of sixty pushes, and every push must look through them;
// so what has been read once is not read again as long as its tag is the same.
type olderReceipts struct {
	mu    sync.Mutex
	known map[replica]Receipts
}

// replica names a client of any space.
type replica struct {
	space string
	Client
}

// of returns what is known of clients of a space, and its tags.
func (o *olderReceipts) of(space string, clients []Client) (known map[Client]Receipts, tags map[Client]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range clients {
		r, ok := o.known[replica{space, c}]
		if !ok {
			continue
		}
		if known == nil {
			known, tags = make(map[Client]Receipts, len(clients)), make(map[Client]int64, len(clients))
		}
		known[c], tags[c] = r, r.OlderTag
	}
	return known, tags
}

// complete puts what was known into receipts that were found without it, and
// remembers what was read.
func (o *olderReceipts) complete(space string, found, known map[Client]Receipts) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c, r := range found {
		if r.Older != nil && r.OlderTag != 0 {
			o.remember(replica{space, c}, r)
		} else if r.OlderTag != 0 && r.OlderTag == known[c].OlderTag {
			r.Older = known[c].Older
			found[c] = r
		}
	}
}

// remember is called with mu held.
func (o *olderReceipts) remember(name replica, r Receipts) {
	if o.known == nil {
		o.known = make(map[replica]Receipts)
	}
	for other := range o.known { // in no order: one as good as another
		if len(o.known) < maxKnown {
			break
		}
		delete(o.known, other)
	}
	o.known[name] = Receipts{Older: r.Older, OlderTag: r.OlderTag}
}
