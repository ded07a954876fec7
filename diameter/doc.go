// Package diameter knows the bytes of the Diameter base protocol (RFC 6733
// sections 3, 4, 7 and 8.8) and nothing else: framing with limits, reading
// AVPs without copying, append-encoding, validation against a dictionary, and
// the answers that bytes alone deserve. It starts no goroutine and opens no
// socket.
//
// Vocabulary (command, AVP and result codes, data types, the dictionary) comes
// from github.com/fiorix/go-diameter/v4; its reader is never given network
// bytes, because it panics on malformed ones.
package diameter
