package pgdirectory

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// copySignature begins the binary format of COPY (PostgreSQL, "Binary Format").
var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

// copyHead is the length of the signature, the flags and the length of the header's
// extension.
const copyHead = 11 + 4 + 4

var errCopy = errors.New("the database's COPY is not in the binary format")

// copyReader takes the stream of a COPY … TO STDOUT (FORMAT BINARY) apart. The server
// sends a message for each row, the first of them with the header in front.
type copyReader struct {
	row  func(row []byte) error // the row's bytes are only valid in the call
	head bool                   // the header was read
	end  bool                   // the trailer was read
}

// Write takes one message.
func (c *copyReader) Write(message []byte) (int, error) {
	row := message
	if !c.head {
		if len(row) < copyHead || !bytes.HasPrefix(row, copySignature) {
			return 0, errCopy
		}
		extension := int(binary.BigEndian.Uint32(row[copyHead-4:]))
		if row = row[copyHead:]; len(row) < extension {
			return 0, errCopy
		}
		row, c.head = row[extension:], true
	}
	switch {
	case len(row) == 0:
	case len(row) == 2 && binary.BigEndian.Uint16(row) == 0xffff:
		c.end = true
	default:
		if err := c.row(row); err != nil {
			return 0, err
		}
	}
	return len(message), nil
}

// finished tells whether the stream came to its end.
func (c *copyReader) finished() error {
	if !c.end {
		return errCopy
	}
	return nil
}

// copyFields reads the fields of a row one after the other.
type copyFields struct {
	rest string
	err  error
}

// begin reads how many fields there are.
func (f *copyFields) begin(want int) {
	if count := f.take(2); f.err == nil && int(count[0])<<8|int(count[1]) != want {
		f.err = errCopy
	}
}

// text is a text field, "" for a NULL.
func (f *copyFields) text() string {
	head := f.take(4)
	if f.err != nil {
		return ""
	}
	length := int32(uint32(head[0])<<24 | uint32(head[1])<<16 | uint32(head[2])<<8 | uint32(head[3]))
	if length < 0 {
		return ""
	}
	return f.take(int(length))
}

// flag is a boolean field.
func (f *copyFields) flag() bool { return f.text() == "\x01" }

// take takes that many bytes; after an error it is "".
func (f *copyFields) take(n int) string {
	if f.err != nil || len(f.rest) < n {
		f.err = errCopy
		return ""
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}
