package diameter

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
)

// Limits on what is read from the network, checked before anything is allocated.
const (
	HeaderLen     = 20
	MessageMax    = 1 << 20 // a longer message closes the connection unread
	AVPCountMax   = 2048    // AVPs of one message, nested ones included
	GroupDepthMax = 8       // nesting of grouped AVPs

	// A body is allocated in steps of what has arrived, so that a header
	// alone claims no more than this.
	bodyStep = 16 << 10
)

// Flags are the command flags of a message header (RFC 6733 §3).
type Flags uint8

// The command flags; the low four bits are reserved, sent 0, ignored.
const (
	FlagRequest    Flags = 0x80
	FlagProxiable  Flags = 0x40
	FlagError      Flags = 0x20
	FlagRetransmit Flags = 0x10
)

// Header is a Diameter header without version and length.
type Header struct {
	Flags       Flags
	Command     uint32
	Application uint32
	HopByHop    uint32
	EndToEnd    uint32
}

// Request reports whether the R bit is set.
func (h Header) Request() bool { return h.Flags&FlagRequest != 0 }

// Message is one framed message. Raw is the whole of it, header included; nobody
// writes into it (see Reader).
type Message struct {
	Header
	Raw []byte
}

// ReadMessage reads one message. Framing is checked before the body is
// allocated. The error is io.EOF at a clean end, or an *Error with Fatal set
// when framing is lost: the message then holds the header alone; send the
// error's answer if it has one, then close.
func ReadMessage(r io.Reader) (Message, error) {
	var head [HeaderLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Message{}, err
	}
	length, err := CheckHeader(head[:])
	if err != nil {
		return Message{Header: parseHeader(head[:]), Raw: head[:]}, err
	}
	raw, err := readBody(r, head[:], length)
	if err != nil {
		return Message{}, fmt.Errorf("message of %d octets: %w", length, err)
	}
	return Message{Header: parseHeader(raw), Raw: raw}, nil
}

// readBody reads the rest of a message of that length which begins with head.
func readBody(r io.Reader, head []byte, length int) ([]byte, error) {
	raw := make([]byte, min(length, max(bodyStep, len(head))))
	for have := copy(raw, head); ; {
		if _, err := io.ReadFull(r, raw[have:]); err != nil {
			return nil, noEOF(err)
		}
		if have = len(raw); have == length {
			return raw, nil
		}
		longer := make([]byte, min(length, 2*have))
		copy(longer, raw)
		raw = longer
	}
}

// noEOF keeps an end in the middle of a message from looking like a clean one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ParseMessage takes raw as one whole message without copying it. The error is
// an *Error with Fatal set.
func ParseMessage(raw []byte) (Message, error) {
	if len(raw) < HeaderLen {
		return Message{}, fatal(InvalidMessageLength, "message shorter than its header")
	}
	m := Message{Header: parseHeader(raw), Raw: raw}
	length, err := CheckHeader(raw)
	if err == nil && length != len(raw) {
		err = fatal(InvalidMessageLength, fmt.Sprintf("message length %d in a frame of %d", length, len(raw)))
	}
	if err != nil {
		m.Raw = raw[:HeaderLen]
		return m, err
	}
	return m, nil
}

// CheckHeader checks version and length of the first HeaderLen octets and
// returns the message length.
func CheckHeader(head []byte) (int, error) {
	length := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	switch {
	case head[0] != 1:
		return 0, fatal(UnsupportedVersion, fmt.Sprintf("version %d", head[0]))
	case length < HeaderLen || length%4 != 0:
		return 0, fatal(InvalidMessageLength, fmt.Sprintf("message length %d", length))
	case length > MessageMax:
		return 0, fatal(0, fmt.Sprintf("message length %d is above %d", length, MessageMax))
	}
	return length, nil
}

func parseHeader(b []byte) Header {
	return Header{
		Flags:       Flags(b[4]),
		Command:     uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7]),
		Application: binary.BigEndian.Uint32(b[8:]),
		HopByHop:    binary.BigEndian.Uint32(b[12:]),
		EndToEnd:    binary.BigEndian.Uint32(b[16:]),
	}
}

// Body returns the AVPs' octets.
func (m Message) Body() []byte { return m.Raw[HeaderLen:] }

// AVPs iterates the message's top-level AVPs; see Walk.
func (m Message) AVPs() iter.Seq[AVP] { return Walk(m.Body()) }

// ResultCode returns the Result-Code of an answer, 0 when it has none.
func (m Message) ResultCode() ResultCode {
	a, _ := m.Find(ResultCodeAVP)
	return ResultCode(a.Uint32())
}

// Find returns the first top-level AVP of that attribute.
func (m Message) Find(a Attribute) (AVP, bool) { return Find(m.Body(), a) }
