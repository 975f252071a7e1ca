package archive

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/store"
)

// batch holds the rows of one transaction, and proves those of the whole space.
type batch struct {
	row   *models.Space
	at    store.Imported // what comes up to here is there already
	write func(ctx context.Context, documents []models.Document, clients []models.Client) error
	proof syncer.Verification

	documents, clients int64 // so far
	last               syncer.Key
	lastClient         syncer.Client

	rows     []models.Document
	replicas []models.Client
	bytes    int
}

func (b *batch) document(ctx context.Context, d *document) error {
	row, err := d.row(b.row.ID)
	if err != nil {
		return err
	}
	key := syncer.Key{Collection: d.Collection, ID: d.ID}
	if b.clients > 0 || b.documents > 0 && compare(key.Collection, key.ID, b.last.Collection, b.last.ID) <= 0 {
		return fmt.Errorf("document %s/%s is out of order", d.Collection, d.ID)
	}
	b.documents++
	b.last = key
	b.proof.Document(&row)
	if compare(key.Collection, key.ID, b.at.Document.Collection, b.at.Document.ID) <= 0 {
		return nil
	}
	if row.Data != nil {
		if problem := syncer.CheckDocument([]byte(*row.Data)); problem != nil {
			return fmt.Errorf("document %s/%s: %s", d.Collection, d.ID, problem.Detail)
		}
	}
	b.rows = append(b.rows, row)
	return b.add(ctx, int(row.Size)+len(row.FieldVersions))
}

func (b *batch) client(ctx context.Context, c *client) error {
	row, name := c.row(b.row.ID), syncer.Client{Subject: c.Subject, ID: c.ClientID}
	if b.clients > 0 && compare(name.Subject, name.ID, b.lastClient.Subject, b.lastClient.ID) <= 0 {
		return fmt.Errorf("client %s of %s is out of order", c.ClientID, c.Subject)
	}
	b.clients++
	b.lastClient = name
	b.proof.Client(&row)
	if compare(name.Subject, name.ID, b.at.Client.Subject, b.at.Client.ID) <= 0 {
		return nil
	}
	b.replicas = append(b.replicas, row)
	return b.add(ctx, len(row.Receipts)+len(row.OlderReceipts))
}

// add counts a row, and writes the batch once it is full.
func (b *batch) add(ctx context.Context, bytes int) error {
	b.bytes += bytes
	if len(b.rows)+len(b.replicas) < batchRows && b.bytes < batchBytes {
		return nil
	}
	return b.flush(ctx)
}

func (b *batch) flush(ctx context.Context) error {
	if len(b.rows)+len(b.replicas) == 0 {
		return nil
	}
	err := b.write(ctx, b.rows, b.replicas)
	clear(b.rows) // the texts are done with
	b.rows, b.replicas, b.bytes = b.rows[:0], b.replicas[:0], 0
	return err
}

// compare compares names of two parts, byte by byte.
func compare(a1, a2, b1, b2 string) int {
	return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
}
