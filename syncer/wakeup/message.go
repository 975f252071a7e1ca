package wakeup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/models"
)

// message is what the receiver gets. It depends on nothing but the spaces and their
// versions: so the same again has the same id, whoever sends it.
type message struct {
	Type      string      `json:"type"`
	Timestamp string      `json:"timestamp"` // of the newest version
	Data      messageData `json:"data"`
}

type messageData struct {
	Spaces []models.Head `json:"spaces"`
}

// newMessage returns the message about entries, and its id.
func newMessage(list []entry) (id string, body []byte, err error) {
	heads := heads(list)
	newest := slices.MaxFunc(heads, func(a, b models.Head) int { return int(a.Version - b.Version) })
	body, err = json.Marshal(message{
		Type:      "space.changed",
		Timestamp: time.UnixMicro(newest.Version).UTC().Format("2006-01-02T15:04:05.000Z"),
		Data:      messageData{heads},
	})
	sum := sha256.Sum256(body)
	return "msg_" + hex.EncodeToString(sum[:16]), body, err
}

// heads are entries as spaces with their versions, by name.
func heads(list []entry) []models.Head {
	all := make([]models.Head, len(list))
	for i, e := range list {
		all[i] = models.Head{Space: e.space, Version: e.version}
	}
	slices.SortFunc(all, func(a, b models.Head) int { return strings.Compare(a.Space, b.Space) })
	return all
}
