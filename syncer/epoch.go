package syncer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
