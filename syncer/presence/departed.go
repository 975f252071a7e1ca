package presence

import (
	"time"

	"github.com/tidemark/tidemark/models"
)

const (
	// rememberFor is the least time for which a departure is remembered, if there
	// are not too many: longer than anybody may be present without a heartbeat. A
	// message that comes later still shows who is gone for one ttl, and no longer.
	rememberFor = models.MaxPresenceTTL

	// maxDeparted bounds each of the two generations.
	maxDeparted = 20_000
)

// client names a client in a space.
type client struct{ space, id string }

// departed remembers the stamps of clients that have left or expired. It forgets
// by generations: when the younger one is old or full, it takes the place of the
// elder. So each is remembered for rememberFor at least and twice that at most,
// and nothing has to look through them.
type departed struct {
	young, old map[client]stamp
	since      time.Time // when young was begun
}

func (d *departed) add(c client, s stamp, now time.Time) {
	d.age(now)
	d.young[c] = s
}

// stamp returns when c left, the zero stamp if that is not known.
func (d *departed) stamp(c client, now time.Time) stamp {
	d.age(now)
	if s, ok := d.young[c]; ok {
		return s
	}
	return d.old[c]
}

func (d *departed) age(now time.Time) {
	if d.young != nil && now.Sub(d.since) < rememberFor && len(d.young) < maxDeparted {
		return
	}
	d.old, d.young, d.since = d.young, make(map[client]stamp), now
}
