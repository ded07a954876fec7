package sipload

import (
	"bytes"
	"net/netip"
	"strconv"
)

// message is a SIP message as it came; its text is only valid until the next read.
type message struct {
	text []byte
	from netip.AddrPort
}

var (
	lineEnd  = []byte("\r\n")
	sipStart = []byte("SIP/2.0 ")
)

// status is the status code of a response, 0 for a request.
func (m message) status() int {
	if !bytes.HasPrefix(m.text, sipStart) || len(m.text) < len(sipStart)+3 {
		return 0
	}
	code, _ := strconv.Atoi(string(m.text[len(sipStart) : len(sipStart)+3])) // 0: no response either
	return code
}

// is tells whether a request has that method.
func (m message) is(method string) bool {
	return len(m.text) > len(method) && string(m.text[:len(method)]) == method && m.text[len(method)] == ' '
}

// lines calls do with each header line, without its end, until do returns false.
func (m message) lines(do func(line []byte) bool) {
	_, rest, _ := bytes.Cut(m.text, lineEnd)
	for {
		line, next, found := bytes.Cut(rest, lineEnd)
		if !found || len(line) == 0 || !do(line) {
			return
		}
		rest = next
	}
}

// header is the value of the first header of that name, nil when there is none.
// Names are those that the gateway under test writes, in full and in that case.
func (m message) header(name string) (value []byte) {
	m.lines(func(line []byte) bool {
		value = valueOf(line, name)
		return value == nil
	})
	return value
}

func valueOf(line []byte, name string) []byte {
	if len(line) <= len(name) || line[len(name)] != ':' || string(line[:len(name)]) != name {
		return nil
	}
	return bytes.TrimSpace(line[len(name)+1:])
}

// description is a session description as telephones send it.
const description = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"

// appendBody ends the headers and adds a session description.
func appendBody(b []byte) []byte {
	b = append(b, "Content-Type: application/sdp\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(description)), 10)
	return append(append(b, "\r\n\r\n"...), description...)
}

// appendNoBody ends the headers of a message without body.
func appendNoBody(b []byte) []byte { return append(b, "Content-Length: 0\r\n\r\n"...) }

// appendResponse begins a response: what it takes over from the request. tag is added
// to a To that has none.
func appendResponse(b []byte, request message, statusLine, tag string) []byte {
	b = append(append(append(b, sipStart...), statusLine...), lineEnd...)
	request.lines(func(line []byte) bool {
		switch {
		case valueOf(line, "To") != nil && !bytes.Contains(line, []byte(";tag=")):
			b = append(append(append(b, line...), ";tag="...), tag...)
		case copied(line):
			b = append(b, line...)
		default:
			return true
		}
		b = append(b, lineEnd...)
		return true
	})
	return b
}

// copied are the headers that a response repeats (RFC 3261 §8.2.6.2), and the
// session identifier.
func copied(line []byte) bool {
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Record-Route", "Session-ID"} {
		if valueOf(line, name) != nil {
			return true
		}
	}
	return false
}

// sessionIDLength is 32 hexadecimal digits (RFC 7989 §5): the number of the call.
const sessionIDLength = 32

func appendSessionID(b []byte, call int) []byte {
	digits := strconv.AppendInt(make([]byte, 0, sessionIDLength), int64(call), 16)
	b = append(b, "Session-ID: "...)
	for range sessionIDLength - len(digits) {
		b = append(b, '0')
	}
	return append(append(b, digits...), lineEnd...)
}

// callOf reads the number of the call back, -1 when the message has none.
func callOf(m message) int {
	value := m.header("Session-ID")
	if len(value) < sessionIDLength {
		return -1
	}
	n, err := strconv.ParseInt(string(value[:sessionIDLength]), 16, 32)
	if err != nil {
		return -1
	}
	return int(n)
}
