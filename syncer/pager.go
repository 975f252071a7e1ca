package syncer

import "github.com/tidemark/tidemark/models"

// Pager cuts a page out of a feed: it takes changes in the order of their versions
// until Limit of them or models.MaxPageBytes of their texts are there, and never
// splits a version. The first version comes whole, whatever its size.
type Pager struct {
	Limit int

	changes []models.Change
	whole   int // changes up to the end of the version before the last one
	size    int
}

// Add takes the next change. It reports false when the page ended before it.
func (p *Pager) Add(c *models.Change) bool {
	n := len(p.changes)
	if n > 0 && p.changes[n-1].Version != c.Version {
		p.whole = n
	}
	p.size += len(c.Data)
	if p.whole > 0 && (n >= p.Limit || p.size > models.MaxPageBytes) {
		p.changes = p.changes[:p.whole]
		return false
	}
	p.changes = append(p.changes, *c)
	return true
}

// Stop ends the page before a version.
func (p *Pager) Stop(version int64) {
	n := len(p.changes)
	for n > 0 && p.changes[n-1].Version >= version {
		n--
	}
	p.changes = p.changes[:n]
}

// Run returns the page. through is the version up to which the feed was read if no
// Add reported false.
func (p *Pager) Run(space models.Space, through int64, full bool) Run {
	if full {
		through = p.changes[len(p.changes)-1].Version
	}
	return Run{Space: space, Changes: p.changes, Through: through}
}
