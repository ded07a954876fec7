package diameter

import (
	"fmt"
	"io"
	"time"
)

const (
	// blockLen is what a Reader allocates and reads at once, in octets: some
	// fifty requests with one system call.
	blockLen = 32 << 10
	// readMin is the least room, in octets, for which reading into the rest of a
	// block is worth a system call.
	readMin = 4 << 10
)

// Reader reads the messages of one connection, for one goroutine. It takes what
// has arrived, so that many small messages share one system call and one
// allocation: a message's Raw is a part of the block it came in.
//
// No octet of a block is written twice: Raw stays what it is for as long as
// anybody refers to it. But it keeps its whole block in memory, so whatever
// outlives the answer to a request has to be a copy.
type Reader struct {
	r      io.Reader
	unread []byte // has arrived and is not handed out; its capacity ends with the block
	err    error  // came behind unread
	at     time.Time
}

// NewReader returns a reader of the messages in r. Nothing is read before Next.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next message; its result is that of ReadMessage.
func (r *Reader) Next() (Message, error) {
	if err := r.fill(HeaderLen); err != nil {
		return Message{}, err
	}
	length, err := CheckHeader(r.unread)
	if err != nil {
		return Message{Header: parseHeader(r.unread), Raw: r.unread[:HeaderLen:HeaderLen]}, err
	}
	raw, err := r.take(length)
	if err != nil {
		return Message{}, fmt.Errorf("message of %d octets: %w", length, err)
	}
	return Message{Header: parseHeader(raw), Raw: raw}, nil
}

// At is when the last octets arrived, as far as the reader knows: those of the
// last message and of all that came with it.
func (r *Reader) At() time.Time { return r.at }

// take hands out the next n octets. Those of a message longer than a block get
// memory of their own, in steps of what has arrived.
func (r *Reader) take(n int) ([]byte, error) {
	if n > blockLen {
		raw, err := readBody(r.r, r.unread, n)
		r.unread, r.at = nil, time.Now()
		return raw, err
	}
	if err := r.fill(n); err != nil {
		return nil, err
	}
	raw := r.unread[:n:n]
	r.unread = r.unread[n:]
	return raw, nil
}

// fill reads until n octets are there, n being no more than blockLen.
func (r *Reader) fill(n int) error {
	for len(r.unread) < n {
		if r.err != nil {
			return r.cut()
		}
		have := len(r.unread)
		if wanted := min(max(n-have, readMin), blockLen-have); cap(r.unread)-have < wanted {
			r.unread = append(make([]byte, 0, blockLen), r.unread...)
		}
		got, err := r.r.Read(r.unread[have:cap(r.unread)])
		r.unread, r.err, r.at = r.unread[:have+got], err, time.Now()
	}
	return nil
}

// cut is why no more octets come; in the middle of a message that is no clean end.
func (r *Reader) cut() error {
	if len(r.unread) > 0 {
		return noEOF(r.err)
	}
	return r.err
}
