package logical

import (
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
)

// rows makes pokes of rows. The server sends a transaction's after its commit.
type rows struct {
	put    func(syncer.Message)
	tables map[uint32]table // by the id that the server uses for them
}

// table says which columns tell what. version is -1 where no column does.
type table struct{ space, version int }

// take takes one message of pgoutput. After a commit it returns where the
// transaction ended, else 0.
func (r *rows) take(data []byte) (pglogrepl.LSN, error) {
	message, err := pglogrepl.Parse(data)
	if err != nil {
		return 0, fmt.Errorf("read what the server sends: %w", err)
	}
	switch message := message.(type) {
	case *pglogrepl.RelationMessage:
		r.describe(message)
	case *pglogrepl.InsertMessage:
		r.poke(message.RelationID, message.Tuple)
	case *pglogrepl.UpdateMessage:
		r.poke(message.RelationID, message.NewTuple)
	case *pglogrepl.CommitMessage:
		return message.TransactionEndLSN, nil
	}
	return 0, nil
}

// describe notes a table's columns. The server sends them before the first row and
// after each change of the table.
func (r *rows) describe(m *pglogrepl.RelationMessage) {
	column := func(name string) int {
		return slices.IndexFunc(m.Columns, func(c *pglogrepl.RelationMessageColumn) bool { return c.Name == name })
	}
	if r.tables == nil {
		r.tables = make(map[uint32]table)
	}
	switch m.RelationName {
	case "spaces":
		r.tables[m.RelationID] = table{column("id"), column("head")}
	case "inbox":
		// A row of the inbox has no version before it was drained.
		r.tables[m.RelationID] = table{column("space"), -1}
	}
}

// poke puts a poke for a row, if it is one of a table that we know. Where the row
// doesn't say what it should, somewhere else something may have changed.
func (r *rows) poke(relation uint32, row *pglogrepl.TupleData) {
	t, known := r.tables[relation]
	if !known || row == nil {
		return
	}
	var m syncer.Message
	if c := cell(row, t.space); c != nil {
		m.Space = string(c.Data)
	}
	if m.Space != models.CanarySpace && !models.ValidSpace(m.Space) {
		m.Space = ""
	} else if c := cell(row, t.version); c != nil {
		m.Version, _ = c.Int64() // 0, look, if it is none
	}
	r.put(m)
}

func cell(row *pglogrepl.TupleData, i int) *pglogrepl.TupleDataColumn {
	if i < 0 || i >= len(row.Columns) || row.Columns[i].DataType != pglogrepl.TupleDataTypeText {
		return nil
	}
	return row.Columns[i]
}
