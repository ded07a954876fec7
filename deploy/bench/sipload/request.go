package sipload

import (
	"strconv"
	"time"
)

// send sends the request that the call's stage asks for, first or again; with the
// lock held. One that cannot be sent is one that is lost: it is repeated.
func (c *callers) send(n int) {
	k := &c.calls[n]
	k.tries++
	k.sent = time.Now()
	switch k.stage {
	case inviting:
		c.write(c.appendInvite(make([]byte, 0, 1024), n))
	case releasing:
		b := c.appendHead(make([]byte, 0, 512), n, "BYE", 2, 'b')
		c.write(appendNoBody(b))
	}
}

// acknowledge sends the ACK of a final response: of a refusal it belongs to the
// INVITE's transaction (RFC 3261 §17.1.1.3), of an answer it is one of its own.
func (c *callers) acknowledge(n, status int) {
	branch := byte('a')
	if status >= 300 {
		branch = 'i'
	}
	c.write(appendNoBody(c.appendHead(make([]byte, 0, 512), n, "ACK", 1, branch)))
}

// appendInvite appends the n-th call's INVITE.
func (c *callers) appendInvite(b []byte, n int) []byte {
	b = c.appendHead(b, n, "INVITE", 1, 'i')
	b = append(b, c.contact()...)
	return appendBody(appendSessionID(b, n))
}

// appendHead appends the request line and the headers that every request has.
func (c *callers) appendHead(b []byte, n int, method string, seq int, branch byte) []byte {
	k := &c.calls[n]
	calling, dialled := c.config.Numbers(n)
	b = append(append(b, method...), " sip:"...)
	b = append(append(append(b, dialled...), '@'), c.config.Gateway...)
	b = append(append(b, " SIP/2.0\r\nVia: SIP/2.0/UDP "...), c.local...)
	b = append(append(b, ";rport;branch=z9hG4bK"...), c.mark...)
	b = strconv.AppendInt(append(b, branch), int64(n), 10)
	b = append(append(b, "\r\nMax-Forwards: 70\r\nFrom: <sip:+"...), calling...)
	b = append(append(append(append(b, '@'), c.local...), ">;tag="...), c.mark...)
	b = append(b, "\r\nTo: "...)
	if k.to != nil {
		b = append(b, k.to...)
	} else {
		b = append(append(append(append(append(b, "<sip:"...), dialled...), '@'), c.config.Gateway...), '>')
	}
	b = append(append(append(b, "\r\nCall-ID: "...), c.mark...), '-')
	b = append(strconv.AppendInt(b, int64(n), 10), "\r\nCSeq: "...)
	b = append(strconv.AppendInt(b, int64(seq), 10), ' ')
	return append(append(b, method...), lineEnd...)
}

// contact is what a request says of the caller.
func (c *callers) contact() string {
	return "Contact: <sip:caller@" + c.local + ">\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\nSupported: timer\r\n"
}

func (c *callers) write(b []byte) { _, _ = c.conn.Write(b) }
