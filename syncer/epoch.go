package syncer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/models"
)

// maxPastEpochs is how many past epochs a space remembers. Each restart of the
// database that is followed by a push makes one.
const maxPastEpochs = 1024

// epochLeap is how far, in versions, an epoch at least begins above its space's head if
// the clock is no help: as much as 19 hours, which is more than a clock is wrong for long.
const epochLeap = 1 << 36

// A pastEpoch is a lifetime of the database that is over for a space: the database was
// started anew, restored from a backup, or another took its place. What it had written
// up to head is in the history of today. What it may have written after that is lost:
// those versions lie above head and below first, because versions come from the clock.
type pastEpoch struct {
	epoch int64 // 0: before the space was written
	head  int64 // the newest version at its end, as far as it is not lost
	first int64 // the first version after it
}

// pastEpochs are in the order of their versions.
type pastEpochs []pastEpoch

// parseEpochs reads the column past_epochs.
func parseEpochs(text string) (pastEpochs, error) {
	if text == "" || text == "[]" {
		return nil, nil
	}
	var list [][3]int64
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read past epochs: %w", err)
	}
	past := make(pastEpochs, len(list))
	for i, e := range list {
		past[i] = pastEpoch{e[0], e[1], e[2]}
	}
	return past, nil
}

// lostIn is lost for past epochs in their text, which is quick where a version is newer
// than all of them, as almost all are that clients know of.
func lostIn(text string, version int64) (bool, error) {
	if first, err := strconv.ParseInt(strings.TrimSuffix(text[strings.LastIndexByte(text, ',')+1:], "]]"), 10, 64); err == nil && version >= first {
		return false, nil
	}
	past, err := parseEpochs(text)
	return past.lost(version), err
}

// text is what parseEpochs reads.
func (p pastEpochs) text() (string, error) {
	list := make([][3]int64, len(p))
	for i, e := range p {
		list[i] = [3]int64{e.epoch, e.head, e.first}
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// with returns p and one more. The oldest are dropped: those that ended before a
// version, because who knew them is not resumed any more, and what is too many.
func (p pastEpochs) with(e pastEpoch, endedBefore int64) pastEpochs {
	all := append(slices.Clone(p), e)
	kept := max(len(all)-maxPastEpochs, 0)
	for kept < len(all) && all[kept].first < endedBefore {
		kept++
	}
	return all[kept:]
}

// reaches reports whether a version that was seen in an epoch is still history: the
// epoch is known, and had come to that version before it ended.
func (p pastEpochs) reaches(epoch, version int64) bool {
	for _, e := range slices.Backward(p) {
		if e.epoch == epoch {
			return version <= e.head
		}
	}
	return false
}

// lost reports whether a version is of a history that was lost.
func (p pastEpochs) lost(version int64) bool {
	return slices.ContainsFunc(p, func(e pastEpoch) bool { return e.head < version && version < e.first })
}

// nextVersion is the version of a push. Where an epoch begins it must be above all that
// may have been lost, and a clock that is behind the head doesn't tell what that is:
// perhaps it was ahead by then.
func nextVersion(locked *Locked) int64 {
	head := locked.Space.Head
	if locked.Space.Epoch != locked.Identity && head > 0 && locked.Now <= head {
		// Not the same for two backups that are put back one after the other.
		return head + epochLeap + int64(uint64(locked.Identity)%epochLeap)
	}
	return max(head+1, locked.Now)
}

// enterEpoch lets space, with the head it had so far, enter the epoch of today. It
// reports whether that is a new one. A space that was never written enters its first
// one like any other: it may have been written before, and lost as a whole.
func (d *decision) enterEpoch(space *models.Space) (entered bool, err error) {
	if space.Epoch == d.locked.Identity {
		return false, nil
	}
	past, err := d.pastEpochs()
	if err != nil {
		return false, err
	}
	retained := d.locked.Now - space.Retention(d.push.retention).Microseconds()
	past = past.with(pastEpoch{epoch: space.Epoch, head: space.Head, first: d.version}, retained)
	if space.PastEpochs, err = past.text(); err != nil {
		return false, err
	}
	space.Epoch = d.locked.Identity
	return true, nil
}

// lost reports whether a version that a client names as its base is of a history that
// was lost.
func (d *decision) lost(version int64) (bool, error) {
	if space := d.locked.Space; version > space.Head {
		if space.Head == 0 || space.Epoch == d.locked.Identity {
			// No history had anything between the head and the version of this push.
			return version > d.version, nil
		}
		return version != d.version, nil // that is what an edit before it in this push has got
	}
	past, err := d.pastEpochs()
	if len(past) > 0 && past[0].epoch == 0 {
		past = past[1:] // all that is there was written after that
	}
	return past.lost(version), err
}

// pastEpochs are those of the space before the push.
func (d *decision) pastEpochs() (past pastEpochs, err error) {
	if d.past == nil {
		d.past, err = parseEpochs(d.locked.Space.PastEpochs)
	}
	return d.past, err
}

// Continues reports whether a space, as it is now, has the history of an earlier state of
// it: nothing of that was lost since.
func Continues(now, earlier *models.Space) bool {
	if now.Epoch == earlier.Epoch && now.Head >= earlier.Head {
		return now.Head > earlier.Head || now.Digest == earlier.Digest
	}
	past, err := parseEpochs(now.PastEpochs)
	return err == nil && past.reaches(earlier.Epoch, earlier.Head)
}
