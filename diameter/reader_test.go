package diameter_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"gygate/diameter"
)

// segments reads as a connection does: what has arrived, in pieces of any size.
type segments struct {
	stream []byte
	random *rand.Rand
	most   int
}

func (s *segments) Read(p []byte) (int, error) {
	if len(s.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+s.random.IntN(s.most))], s.stream)
	s.stream = s.stream[n:]
	return n, nil
}

// longer is a message of about that many octets.
func longer(t testing.TB, n int) []byte {
	return ccr(t, diameter.AppendBytes(nil, diameter.Attribute{Code: 60001}, make([]byte, n))).Raw
}

// Whatever the segmentation, a Reader hands out what was sent; and no message
// changes while later ones are read, nor when somebody appends to one before.
func TestReaderKeepsMessages(t *testing.T) {
	var sent [][]byte
	var stream []byte
	for i := range 400 {
		m := golden(t, fmt.Sprintf("G%d", 1+i%17))
		if i%50 == 49 {
			m = longer(t, 1<<(10+i%10)) // below and above a block, up to half of MessageMax
		}
		sent, stream = append(sent, m), append(stream, m...)
	}
	for _, most := range []int{1 << 20, 64 << 10, 5000, 700, 19} {
		r := diameter.NewReader(&segments{stream, rand.New(rand.NewPCG(1, uint64(most))), most})
		var got []diameter.Message
		for range sent {
			m, err := r.Next()
			if err != nil || r.At().IsZero() {
				t.Fatalf("message %d of segments up to %d: %v", len(got), most, err)
			}
			_ = append(m.Raw, "what its owner does"...)
			got = append(got, m)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("error %v at the end, want EOF", err)
		}
		for i, m := range got {
			if again, err := diameter.ParseMessage(sent[i]); err != nil || !bytes.Equal(m.Raw, sent[i]) || m.Header != again.Header {
				t.Fatalf("message %d of segments up to %d: %x, want %x", i, most, m.Raw, sent[i])
			}
		}
	}
}

// Whatever comes in, a Reader says what ReadMessage says.
func FuzzReader(f *testing.F) {
	addSeeds(f)
	f.Add(bytes.Repeat(golden(f, "G1"), 100))
	f.Add(longer(f, 40<<10))
	f.Fuzz(func(t *testing.T, stream []byte) {
		one := bytes.NewReader(stream)
		for _, other := range []io.Reader{bytes.NewReader(stream), iotest.HalfReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
			one.Reset(stream)
			for r := diameter.NewReader(other); ; {
				want, wanted := diameter.ReadMessage(one)
				got, err := r.Next()
				if fmt.Sprint(err) != fmt.Sprint(wanted) || got.Header != want.Header || !bytes.Equal(got.Raw, want.Raw) {
					t.Fatalf("%x, %v; want %x, %v", got.Raw, err, want.Raw, wanted)
				}
				if wanted != nil {
					break
				}
			}
		}
	})
}

func TestReaderAllocatesBlocks(t *testing.T) {
	stream := bytes.Repeat(golden(t, "G1"), 1000)
	n := testing.AllocsPerRun(10, func() {
		r := diameter.NewReader(bytes.NewReader(stream))
		for range 1000 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if blocks := float64(len(stream)/(32<<10) + 3); n > blocks {
		t.Errorf("%v allocations for 1000 messages, want at most %v", n, blocks)
	}
}

// A header alone claims no more memory than a block, whatever length it says.
func TestReaderCutMessage(t *testing.T) {
	big := longer(t, 900<<10)
	for _, n := range []int{1, 19, 20, 30 << 10, 40 << 10, len(big) - 1} {
		if _, err := diameter.NewReader(bytes.NewReader(big[:n])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v for a message cut after %d octets", err, n)
		}
	}
}
