package ha

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/converge"
	"github.com/tidemark/tidemark/tests/harness"
)

// row is what one step came to.
type row struct {
	variant, step string

	pushes                          int
	acknowledged                    int // edits
	lost                            int // of them, all at versions that the database says are lost
	doubled, diverged, stuck, other int
	expired                         map[string]int // cursors refused, by cause
	mismatches                      int            // digests that told a client of a loss
	gap                             time.Duration
}

func (r *row) take(v *converge.Verdict) {
	r.acknowledged = v.Met["applied"]
	r.lost = v.Met[converge.AppliedAndLost] + v.Lost
	r.doubled, r.diverged, r.stuck = v.Doubled, v.Diverged, v.Stuck
	r.other = v.Gaps + v.ServerErrors
	r.mismatches = v.Met["mismatch"]
	r.expired = map[string]int{}
	for what, n := range v.Met {
		if cause, ok := strings.CutPrefix(what, "expired "); ok {
			r.expired[cause] = n
		}
	}
}

// table is all rows, as deploy/README.md shows them.
func table(rows []*row) string {
	var b strings.Builder
	b.WriteString("| variant | step | edits acknowledged | lost | doubled | diverged | cursors refused (410): epoch | other causes | found by digest | longest time without a push answered |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		others := 0
		for cause, n := range r.expired {
			if cause != "filter" && cause != "epoch" { // clients ask with a wrong filter on purpose
				others += n
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d | %d | %.1f s |\n", r.variant, r.step, r.acknowledged, r.lost, r.doubled,
			r.diverged+r.stuck+r.other, r.expired["epoch"], others, r.mismatches, r.gap.Seconds())
	}
	return b.String()
}

// envPublish has the table written into deploy/README.md; it is the commit that is tested.
const envPublish = "TIDEMARK_TEST_HA_PUBLISH"

const (
	beginMark = "<!-- ha: begin, written by `make ha PUBLISH=1` -->\n"
	endMark   = "<!-- ha: end -->\n"
)

func publish(commit string, rows []*row) error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	when := fmt.Sprintf("\nOne run of all parts on %s at commit `%s`.\n", time.Now().UTC().Format(time.DateOnly), commit)
	return harness.Publish(filepath.Join(root, "deploy", "README.md"), beginMark, endMark, table(rows)+when)
}
