package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// useLists gives a connection codecs for the lists that become rows. pgx asks each
// element of an array how it wants to be sent; these know, which saves a tenth of
// what a push costs the server.
func useLists(_ context.Context, conn *pgx.Conn) error {
	addList(conn, pgtype.TextArrayOID, func(s string) int { return len(s) }, func(b []byte, s string) []byte { return append(b, s...) })
	addList(conn, pgtype.ByteaArrayOID, func(s []byte) int { return len(s) }, func(b, s []byte) []byte { return append(b, s...) })
	addList(conn, pgtype.Int8ArrayOID, func(int64) int { return 8 }, func(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) })
	addList(conn, pgtype.JSONArrayOID, func(s *string) int {
		if s == nil {
			return null
		}
		return len(*s)
	}, func(b []byte, s *string) []byte { return append(b, *s...) })
	return nil
}

// null is the length of NULL.
const null = -1

// listCodec is pgx's codec of an array type, with a short way for []T.
type listCodec[T any] struct {
	*pgtype.ArrayCodec
	length func(T) int
	put    func([]byte, T) []byte // not called for NULL
}

func addList[T any](conn *pgx.Conn, oid uint32, length func(T) int, put func([]byte, T) []byte) {
	if t, ok := conn.TypeMap().TypeForOID(oid); ok {
		if codec, ok := t.Codec.(*pgtype.ArrayCodec); ok {
			conn.TypeMap().RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: &listCodec[T]{codec, length, put}})
		}
	}
}

// PlanEncode implements pgtype.Codec.
func (c *listCodec[T]) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([]T); ok && format == pgtype.BinaryFormatCode {
		return c
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// Encode implements pgtype.EncodePlan. The form is that of PostgreSQL's array_recv:
// how many dimensions, whether some elements are NULL, their type; the length and
// first index of the dimension; the length and the bytes of each element.
func (c *listCodec[T]) Encode(value any, b []byte) ([]byte, error) {
	list, ok := value.([]T)
	if !ok {
		return nil, fmt.Errorf("encode %T as a list of %s", value, c.ElementType.Name)
	}
	if list == nil {
		return nil, nil // NULL
	}
	size, nulls := 20+4*len(list), uint32(0)
	for _, e := range list {
		if n := c.length(e); n == null {
			nulls = 1
		} else {
			size += n
		}
	}
	b = slices.Grow(b, size)
	b = binary.BigEndian.AppendUint32(b, uint32(min(len(list), 1))) // dimensions
	b = binary.BigEndian.AppendUint32(b, nulls)
	b = binary.BigEndian.AppendUint32(b, c.ElementType.OID)
	if len(list) > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
		b = binary.BigEndian.AppendUint32(b, 1)
	}
	for _, e := range list {
		n := c.length(e)
		b = binary.BigEndian.AppendUint32(b, uint32(n)) // #nosec G115 -- -1 is how NULL is sent
		if n != null {
			b = c.put(b, e)
		}
	}
	return b, nil
}
