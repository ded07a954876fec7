package diameter_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/iotest"

	"gygate/diameter"
)

func addSeeds(f *testing.F) {
	for i := 1; i <= 17; i++ {
		f.Add(golden(f, fmt.Sprintf("G%d", i)))
	}
	for _, fault := range lengthFaults() {
		f.Add(ccr(f, diameter.AppendBytes(nil, diameter.MultipleServicesCreditControl, fault.octets)).Raw)
	}
	f.Add(ccr(f, proxy1, proxy2).Raw)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
}

// Whatever comes in, ReadMessage returns a whole message, a fatal fault or the
// reader's error.
func FuzzReadMessage(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := iotest.OneByteReader(bytes.NewReader(stream))
		for taken := 0; ; {
			m, err := diameter.ReadMessage(r)
			var fault *diameter.Error
			switch {
			case errors.As(err, &fault) && !fault.Fatal:
				t.Fatalf("fault %v keeps a connection that lost its framing", fault)
			case err != nil:
				return
			case !bytes.Equal(m.Raw, stream[taken:taken+len(m.Raw)]):
				t.Fatalf("read %x of %x", m.Raw, stream)
			}
			taken += len(m.Raw)
			if again, err := diameter.ParseMessage(m.Raw); err != nil || again.Header != m.Header {
				t.Fatalf("ParseMessage: %+v, %v", again.Header, err)
			}
		}
	})
}

// Whatever is framed, Validate does not panic; what it passes can be walked to
// the end and written again unchanged; what it refuses can be answered.
func FuzzValidate(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := diameter.ParseMessage(raw)
		if err != nil {
			return
		}
		for _, mode := range []diameter.Mode{strict, lenient} {
			fault := dictionary().Validate(m, mode)
			if fault == nil {
				clearPadding(m)
				if got := reencode(m, isRead); !bytes.Equal(got, m.Raw) {
					t.Fatalf("re-encoded\n%x\nwant\n%x", got, m.Raw)
				}
				continue
			}
			answer := diameter.ErrorAnswer(nil, m, fault, origin)
			parsed, err := diameter.ParseMessage(answer)
			if err != nil || parsed.Request() || len(answer) > diameter.MessageMax {
				t.Fatalf("answer %x: %v", answer, err)
			}
			clearPadding(parsed)
			if flat := reencode(parsed, func(diameter.AVP) bool { return false }); !bytes.Equal(flat, answer) {
				t.Fatalf("answer %x is read as %x", answer, flat)
			}
		}
	})
}

// clearPadding zeroes what stands between the AVPs of m, at every level, so
// that the octets can be compared.
func clearPadding(m diameter.Message) { clearGroup(m.Body()) }

// isRead: what other nodes put into Proxy-Info and Failed-AVP is passed on as it
// is, whether it can be read or not.
func isRead(a diameter.AVP) bool {
	return isGroup(a) && !a.Is(diameter.ProxyInfo) && !a.Is(diameter.FailedAVP)
}

func clearGroup(b []byte) {
	for a := range diameter.Walk(b) {
		if isRead(a) {
			clearGroup(a.Data)
		}
		n := len(a.Raw)
		for ; n%4 != 0 && n < len(b); n++ {
			b[n] = 0
		}
		b = b[n:]
	}
}
