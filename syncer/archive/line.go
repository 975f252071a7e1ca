package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tidemark/tidemark/models"
)

// formatVersion is the format that this package writes and reads.
const formatVersion = 1

// line is one line, of which one member is there.
type line struct {
	Header   *Header   `json:"tidemark,omitempty"`
	Space    *space    `json:"space,omitempty"`
	Document *document `json:"document,omitempty"`
	Client   *client   `json:"client,omitempty"`
	End      *end      `json:"end,omitempty"`
	Done     *done     `json:"done,omitempty"`
}

// Header is the first line.
type Header struct {
	Format    int    `json:"format"`
	Source    string `json:"source"`  // kind of database
	Version   string `json:"version"` // of the program that wrote it
	At        string `json:"at"`
	Spaces    int    `json:"spaces"`
	Documents int64  `json:"documents"` // live ones, about
}

type space struct {
	ID             string `json:"id"`
	Head           int64  `json:"head"`
	Floor          int64  `json:"floor"`
	Epoch          int64  `json:"epoch,string"`
	PastEpochs     string `json:"past_epochs"`
	DeletedThrough int64  `json:"deleted_through"`
	Digest         string `json:"digest"`
	LiveCount      int64  `json:"live_count"`
	CreatedAt      int64  `json:"created_at"`
	RetentionMS    int64  `json:"retention_ms"`
}

func newSpace(s *models.Space) *space {
	return &space{
		ID: s.ID, Head: s.Head, Floor: s.Floor, Epoch: s.Epoch, PastEpochs: s.PastEpochs, DeletedThrough: s.DeletedThrough,
		Digest: fmt.Sprintf("%016x", uint64(s.Digest)), LiveCount: s.LiveCount, CreatedAt: s.CreatedAt, RetentionMS: s.RetentionMS,
	}
}

func (s *space) row() (*models.Space, error) {
	if !models.ValidSpace(s.ID) {
		return nil, fmt.Errorf("%q is no name of a space", s.ID)
	}
	digest, err := strconv.ParseUint(s.Digest, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("the digest of space %s can't be read", s.ID)
	}
	return &models.Space{
		ID: s.ID, Head: s.Head, Floor: s.Floor, Epoch: s.Epoch, PastEpochs: s.PastEpochs, DeletedThrough: s.DeletedThrough,
		Digest: int64(digest), LiveCount: s.LiveCount, CreatedAt: s.CreatedAt, RetentionMS: s.RetentionMS,
	}, nil
}

type document struct {
	Collection    string `json:"collection"`
	ID            string `json:"id"`
	Version       int64  `json:"version"`
	Deleted       bool   `json:"deleted,omitempty"`
	FieldVersions string `json:"field_versions,omitempty"`
	UpdatedAt     int64  `json:"updated_at"`
	UpdatedBy     string `json:"updated_by"`
	ClientID      string `json:"client_id"`
	EditID        string `json:"edit_id"`
	// Data is only read; see appendDocument.
	Data json.RawMessage `json:"data,omitempty"`
	Text *string         `json:"text,omitempty"`
}

// appendDocument appends the line of a document. Its text is copied: encoding/json would
// rewrite it.
func appendDocument(b []byte, d *models.Document) ([]byte, error) {
	out := document{
		Collection: d.Collection, ID: d.ID, Version: d.Version, Deleted: d.Deleted, FieldVersions: d.FieldVersions,
		UpdatedAt: d.UpdatedAt, UpdatedBy: d.UpdatedBy, ClientID: d.ClientID, EditID: d.EditID,
	}
	plain := d.Data != nil && fits(*d.Data)
	if !plain {
		out.Text = d.Data
	}
	members, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	b = append(b, `{"document":`...)
	b = append(b, members...)
	if plain {
		b = append(b[:len(b)-1], `,"data":`...)
		b = append(b, *d.Data...)
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

// fits reports whether a text is read back from a line as it is.
func fits(text string) bool {
	for i := range len(text) {
		if text[i] == '\n' || text[i] == '\r' {
			return false
		}
	}
	return len(text) > 0 && text[0] == '{' && text[len(text)-1] == '}'
}

func (d *document) row(space string) (models.Document, error) {
	row := models.Document{
		SpaceID: space, Collection: d.Collection, ID: d.ID, Version: d.Version, Deleted: d.Deleted, FieldVersions: d.FieldVersions,
		UpdatedAt: d.UpdatedAt, UpdatedBy: d.UpdatedBy, ClientID: d.ClientID, EditID: d.EditID, Data: d.Text,
	}
	if d.Text == nil && d.Data != nil {
		text := string(d.Data)
		row.Data = &text
	}
	if row.Data != nil {
		row.Size = int64(len(*row.Data))
	}
	switch {
	case !models.ValidName(d.Collection) || !models.ValidName(d.ID):
		return row, fmt.Errorf("%q/%q is no name of a document", d.Collection, d.ID)
	case (row.Data == nil) != d.Deleted:
		return row, fmt.Errorf("%s/%s must have a text or be deleted", d.Collection, d.ID)
	}
	return row, nil
}

type client struct {
	Subject       string `json:"subject"`
	ClientID      string `json:"client_id"`
	Receipts      []byte `json:"receipts"`
	OlderReceipts []byte `json:"older_receipts,omitempty"`
	OlderTag      int64  `json:"older_tag,omitempty,string"`
	SeenAt        int64  `json:"seen_at"`
}

func newClient(c *models.Client) *client {
	return &client{c.Subject, c.ClientID, c.Receipts, c.OlderReceipts, c.OlderTag, c.SeenAt}
}

func (c *client) row(space string) models.Client {
	return models.Client{
		SpaceID: space, Subject: c.Subject, ClientID: c.ClientID, Receipts: orEmpty(c.Receipts), OlderReceipts: orEmpty(c.OlderReceipts),
		OlderTag: c.OlderTag, SeenAt: c.SeenAt,
	}
}

// orEmpty returns b for a column that may not be NULL.
func orEmpty(b []byte) []byte { return append([]byte{}, b...) }

// end is the last line of a space.
type end struct {
	Space     string `json:"space"`
	Documents int64  `json:"documents"`
	Clients   int64  `json:"clients"`
}

// done is the last line.
type done struct {
	Spaces int `json:"spaces"`
}

// parse reads a line.
func parse(text []byte) (line, error) {
	var l line
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // another format
	if err := decoder.Decode(&l); err != nil {
		return l, err
	}
	if l == (line{}) {
		return l, fmt.Errorf("it says nothing")
	}
	return l, nil
}
