package pgstore

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// A store sends its rows as arrays, one for each column of a statement, in
// PostgreSQL's binary format. They are written here value by value into buffers
// that a lane keeps: as slices through pgx's types they would cost twice as much.

// rows are the parameters of one statement: a column for each array, then scalars.
type rows struct {
	columns []column
	scalars [][]byte
	count   int
	at      int // the column that the next value of the row under way belongs to
	params  [][]byte
}

// column is an array in the binary format; its head is completed by param.
type column struct {
	octets []byte
	nulls  bool
}

// arrayHead is the length of a one-dimensional array's head: dimensions, flags,
// element type, length, lower bound.
const arrayHead = 20

// rowsKeptMax is the largest buffer a column keeps for the next batch, in octets.
const rowsKeptMax = 1 << 20

// reset forgets the rows of the last batch.
func (r *rows) reset() {
	r.count, r.scalars = 0, r.scalars[:0]
	for i := range r.columns {
		c := &r.columns[i]
		if cap(c.octets) > rowsKeptMax {
			c.octets = nil
		}
		c.octets, c.nulls = c.octets[:0], false
	}
}

// add begins a row; its values follow in the order of the columns.
func (r *rows) add() *rows {
	r.count++
	r.at = 0
	return r
}

// value begins the next value of the row, of so many octets.
func (r *rows) value(length int) *column {
	if r.at == len(r.columns) {
		r.columns = append(r.columns, column{})
	}
	c := &r.columns[r.at]
	r.at++
	if len(c.octets) == 0 {
		c.octets = append(c.octets, make([]byte, arrayHead)...)
	}
	c.octets = binary.BigEndian.AppendUint32(c.octets, uint32(length))
	return c
}

func (r *rows) int16(v int16) *rows {
	c := r.value(2)
	c.octets = binary.BigEndian.AppendUint16(c.octets, uint16(v))
	return r
}

func (r *rows) int64(v int64) *rows {
	c := r.value(8)
	c.octets = binary.BigEndian.AppendUint64(c.octets, uint64(v))
	return r
}

func (r *rows) uuid(v [16]byte) *rows {
	c := r.value(len(v))
	c.octets = append(c.octets, v[:]...)
	return r
}

func (r *rows) text(v string) *rows {
	c := r.value(len(v))
	c.octets = append(c.octets, v...)
	return r
}

func (r *rows) bytes(v []byte) *rows {
	c := r.value(len(v))
	c.octets = append(c.octets, v...)
	return r
}

func (r *rows) bool(v bool) *rows {
	c := r.value(1)
	b := byte(0)
	if v {
		b = 1
	}
	c.octets = append(c.octets, b)
	return r
}

// time is a moment, null when it is zero.
func (r *rows) time(v time.Time) *rows {
	if v.IsZero() {
		return r.null()
	}
	return r.int64(microseconds(v))
}

func (r *rows) null() *rows {
	c := r.value(-1)
	c.nulls = true
	return r
}

// json is a jsonb value: a version octet before the text.
func (r *rows) json(v []byte) *rows {
	c := r.value(1 + len(v))
	c.octets = append(append(c.octets, 1), v...)
	return r
}

// scalar adds a moment that holds for all rows, behind the arrays.
func (r *rows) scalar(v time.Time) {
	r.scalars = append(r.scalars, binary.BigEndian.AppendUint64(nil, uint64(microseconds(v))))
}

// elementTypes are the types of the elements of the arrays that statements have.
var elementTypes = map[uint32]uint32{
	pgtype.Int2ArrayOID: pgtype.Int2OID, pgtype.Int8ArrayOID: pgtype.Int8OID, pgtype.UUIDArrayOID: pgtype.UUIDOID,
	pgtype.TextArrayOID: pgtype.TextOID, pgtype.ByteaArrayOID: pgtype.ByteaOID, pgtype.BoolArrayOID: pgtype.BoolOID,
	pgtype.TimestamptzArrayOID: pgtype.TimestamptzOID, pgtype.JSONBArrayOID: pgtype.JSONBOID,
}

// parameters completes the columns, whose types are those of the statement.
func (r *rows) parameters(statement *pgconn.StatementDescription) [][]byte {
	r.params = r.params[:0]
	for i := range r.columns {
		r.params = append(r.params, r.columns[i].param(elementTypes[statement.ParamOIDs[i]], r.count))
	}
	return append(r.params, r.scalars...)
}

func (c *column) param(element uint32, count int) []byte {
	head := c.octets[:arrayHead]
	binary.BigEndian.PutUint32(head, 1)
	binary.BigEndian.PutUint32(head[4:], 0)
	if c.nulls {
		head[7] = 1
	}
	binary.BigEndian.PutUint32(head[8:], element)
	binary.BigEndian.PutUint32(head[12:], uint32(count))
	binary.BigEndian.PutUint32(head[16:], 1)
	return c.octets
}

// postgresEpoch is where PostgreSQL's time begins.
var postgresEpoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// microseconds is a moment in PostgreSQL's binary format.
func microseconds(t time.Time) int64 { return t.UnixMicro() - postgresEpoch }
