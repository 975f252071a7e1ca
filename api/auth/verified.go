package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// rememberFor is how long a token that was found good is not checked again: so
	// much later at most it is noticed that its key has been withdrawn.
	rememberFor = time.Minute

	// maxVerified bounds each of the two generations.
	maxVerified = 10_000
)

// digest stands for a token, so that whoever reads the memory of the process, or
// times what it compares, learns no token.
type digest [sha256.Size]byte

// verified remembers tokens that were found good, because a client sends the same
// one each time. It never remembers one that was refused: anybody can make up
// those. It forgets by generations: when the younger one is full it takes the
// place of the elder, so that memory is bounded and nothing has to look for what
// is old.
type verified struct {
	mu         sync.Mutex
	young, old map[digest]proof
}

// proof is that a token was good.
type proof struct {
	principal *Principal
	until     time.Time // from then on it must be checked again
}

// find returns who a token speaks for, nil if it must be checked.
func (v *verified) find(d digest, now time.Time) *Principal {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, ok := v.young[d]
	if !ok {
		p, ok = v.old[d]
	}
	if !ok || !now.Before(p.until) {
		return nil
	}
	return p.principal
}

// add remembers that a token is good, for rememberFor or until it expires. What
// else depends on the time, `nbf` and `iat`, only becomes true as it passes.
func (v *verified) add(d digest, p *Principal, now time.Time) {
	until := now.Add(rememberFor)
	if expires := p.Expires.Add(leeway); expires.Before(until) {
		until = expires
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= maxVerified {
		v.old, v.young = v.young, nil
	}
	if v.young == nil {
		v.young = make(map[digest]proof)
	}
	v.young[d] = proof{p, until}
}
