package diameter_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"gygate/diameter"
)

// header is an AVP header with the length it claims.
func header(a diameter.Attribute, length int, data ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, a.Code)
	b = append(b, a.Flags, byte(length>>16), byte(length>>8), byte(length))
	return append(b, data...)
}

// lengthFault is one broken AVP at the end of a message or group, and what
// Failed-AVP holds: the header put right, the smallest payload, zero-filled.
type lengthFault struct {
	octets []byte
	failed []byte
}

func lengthFaults() map[string]lengthFault {
	state, zero := diameter.OriginStateID, make([]byte, 8)
	vendor := diameter.Attribute{Code: state.Code, Flags: diameter.AVPVendor}
	none := diameter.Attribute{}
	sized := func(a diameter.Attribute, octets, smallest int) lengthFault {
		return lengthFault{diameter.AppendBytes(nil, a, zero[:octets]), diameter.AppendBytes(nil, a, zero[:smallest])}
	}
	faults := map[string]lengthFault{
		"length 0":               {header(state, 0, 1, 2, 3, 4), u32(state, 0)},
		"length 4":               {header(state, 4, 1, 2, 3, 4), u32(state, 0)},
		"length 7":               {header(state, 7, 1, 2, 3, 4), u32(state, 0)},
		"length 8 with V bit":    {header(vendor, 8, 1, 2, 3, 4), header(diameter.Attribute{Code: state.Code}, 12, zero[:4]...)},
		"longer than the rest":   {header(state, 40, 1, 2, 3, 4), u32(state, 0)},
		"longest":                {header(state, 0xffffff, 1, 2, 3, 4), u32(state, 0)},
		"text beyond the end":    {header(diameter.UserName, 40, 1, 2, 3, 4), text(diameter.UserName, "")},
		"group beyond the end":   {header(diameter.SubscriptionID, 9), group(diameter.SubscriptionID)},
		"address beyond the end": {header(diameter.HostIPAddress, 40), diameter.AppendBytes(nil, diameter.HostIPAddress, []byte{0, 1, 0, 0, 0, 0})},
		"unknown beyond the end": {header(diameter.Attribute{Code: 60001}, 40), header(diameter.Attribute{Code: 60001}, 8)},
		"3GPP beyond the end": {header(diameter.Attribute{Code: 872, Flags: 0xc0}, 40, 0, 0, 0x28, 0xaf),
			u32(diameter.ReportingReason, 0)},

		"Unsigned32 of 0": sized(diameter.CCTime, 0, 4),
		"Unsigned32 of 3": sized(diameter.CCTime, 3, 4),
		"Unsigned32 of 8": sized(diameter.CCTime, 8, 4),
		"Unsigned64 of 4": sized(diameter.CCTotalOctets, 4, 8),
		"Integer64 of 4":  sized(diameter.ValueDigits, 4, 8),
		"Enumerated of 2": sized(diameter.FinalUnitAction, 2, 4),
		"Time of 3":       sized(diameter.EventTimestamp, 3, 4),
		"Address of 1": {diameter.AppendBytes(nil, diameter.HostIPAddress, zero[:1]),
			diameter.AppendBytes(nil, diameter.HostIPAddress, []byte{0, 1, 0, 0, 0, 0})},
	}
	for n := 1; n <= 7; n++ {
		faults[fmt.Sprintf("%d stray octets", n)] = lengthFault{zero[:n], header(none, 8)}
	}
	return faults
}

// and the length faults of the golden messages' appendix: every
// one is 5014 at the top and in a group, and its answer can be read.
func TestA049_A050_LengthFaults(t *testing.T) {
	proves(t, "A-049", "A-050", "D-084")
	for name, fault := range lengthFaults() {
		t.Run(name+" at the top", func(t *testing.T) {
			b := diameter.Start(nil, ccrHeader)
			b = append(b, bytes.Join(required, nil)...)
			b = append(b, fault.octets...)
			if len(b)%4 != 0 { // framing allows no such message: its group is the test
				if _, err := diameter.ParseMessage(diameter.Finish(b, 0)); err == nil {
					t.Error("a message of odd length was framed")
				}
				return
			}
			expectLengthFault(t, parse(t, diameter.Finish(b, 0)), fault.failed)
		})
		t.Run(name+" in a group", func(t *testing.T) {
			inner := diameter.AppendBytes(nil, diameter.UsedServiceUnit, fault.octets)
			expectLengthFault(t, ccr(t, inner), fault.failed)
			expectLengthFault(t, ccr(t, diameter.AppendBytes(nil, diameter.MultipleServicesCreditControl, inner)), fault.failed)
		})
	}
}

func expectLengthFault(t *testing.T, m diameter.Message, failed []byte) {
	t.Helper()
	for _, mode := range []diameter.Mode{strict, lenient} {
		expect(t, m, mode, diameter.InvalidAVPLength, failed)
		fault := dictionary().Validate(m, mode)
		if fault == nil {
			continue
		}
		answer := parse(t, diameter.ErrorAnswer(nil, m, fault, origin))
		if second := dictionary().Validate(answer, strict); second != nil {
			t.Errorf("the answer is faulty itself: %v", second)
		}
		group, _ := answer.Find(diameter.FailedAVP)
		if got := avps(group.Data); len(got) != 1 {
			t.Errorf("Failed-AVP holds %d AVPs", len(got))
		}
	}
}

// Row 2 and 4 of the go-diameter traps: a length claims memory.
func TestA027_A028_ImpossibleHeaders(t *testing.T) {
	head := func(version byte, length int) []byte {
		b := diameter.Start(nil, ccrHeader)
		b[0], b[1], b[2], b[3] = version, byte(length>>16), byte(length>>8), byte(length)
		return b
	}
	for name, c := range map[string]struct {
		head []byte
		code diameter.ResultCode
	}{
		"version 2":        {head(2, 20), diameter.UnsupportedVersion},
		"length 0":         {head(1, 0), diameter.InvalidMessageLength},
		"length 19":        {head(1, 19), diameter.InvalidMessageLength},
		"length 16":        {head(1, 16), diameter.InvalidMessageLength},
		"length 22":        {head(1, 22), diameter.InvalidMessageLength},
		"length too great": {head(1, diameter.MessageMax+4), 0},
		"longest":          {head(1, 0xfffffc), 0},
		"text":             {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), diameter.UnsupportedVersion},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := diameter.ReadMessage(bytes.NewReader(c.head))
			var fault *diameter.Error
			if !errors.As(err, &fault) || !fault.Fatal || fault.Code != c.code {
				t.Fatalf("error %v, want fatal %d", err, c.code)
			}
			if _, err := diameter.ParseMessage(c.head); err == nil {
				t.Error("ParseMessage took it")
			}
			answer := diameter.ErrorAnswer(nil, m, fault, origin)
			if c.code == 0 {
				if len(answer) != 0 {
					t.Errorf("answered %x", answer)
				}
				return
			}
			if got := parse(t, answer); got.HopByHop != m.HopByHop || got.EndToEnd != m.EndToEnd {
				t.Errorf("identifiers %x %x of %x %x", got.HopByHop, got.EndToEnd, m.HopByHop, m.EndToEnd)
			}
		})
	}
}

// A header alone must not make us allocate what it promises.
func TestHeaderAloneClaimsLittle(t *testing.T) {
	const promised, allowed = diameter.MessageMax, 64 << 10
	head := diameter.Start(nil, ccrHeader)
	head[1], head[2], head[3] = promised>>16&0xff, promised>>8&0xff, promised&0xff
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := diameter.ReadMessage(bytes.NewReader(head))
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want unexpected EOF", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > allowed {
		t.Errorf("allocated %d octets for a header", got)
	}
}

// Row 3: nested groups cost other decoders memory and time in the square of
// the size. The whole of a 160 kB nest is refused after a few levels.
func TestDeepNestIsCheap(t *testing.T) {
	nest := group(diameter.MultipleServicesCreditControl)
	for range 2000 {
		nest = group(diameter.MultipleServicesCreditControl, nest)
	}
	m := ccr(t, nest)
	if n := testing.AllocsPerRun(10, func() { dictionary().Validate(m, lenient) }); n > 100 {
		t.Errorf("%v allocations", n)
	}
}

// Row 5: an AVP of fixed size with another length must not let its payload be
// read as AVPs.
func TestPayloadIsNotReadAsAVPs(t *testing.T) {
	smuggled := diameter.AppendBytes(nil, diameter.CCTime, u32(diameter.RatingGroup, 666))
	m := ccr(t, group(diameter.MultipleServicesCreditControl, smuggled))
	expect(t, m, lenient, diameter.InvalidAVPLength, u32(diameter.CCTime, 0))
	mscc, _ := m.Find(diameter.MultipleServicesCreditControl)
	if _, ok := mscc.Find(diameter.RatingGroup); ok {
		t.Error("the smuggled Rating-Group was found")
	}
}

// framing does not depend on segmentation.
func TestA030_Segmentation(t *testing.T) {
	proves(t, "A-030")
	first, second := golden(t, "G1"), golden(t, "G11")
	stream := slices.Concat(first, second, first)
	for name, r := range map[string]io.Reader{
		"one segment":                bytes.NewReader(stream),
		"single octets":              iotest.OneByteReader(bytes.NewReader(stream)),
		"error with the last octets": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range [][]byte{first, second, first} {
				m, err := diameter.ReadMessage(r)
				if err != nil || !bytes.Equal(m.Raw, want) {
					t.Fatalf("read %x, %v", m.Raw, err)
				}
			}
			if _, err := diameter.ReadMessage(r); err != io.EOF {
				t.Errorf("error %v at the end, want EOF", err)
			}
		})
	}
}

func TestLongMessageIsReadInSteps(t *testing.T) {
	big := ccr(t, diameter.AppendBytes(nil, diameter.Attribute{Code: 60001}, make([]byte, 900<<10)))
	m, err := diameter.ReadMessage(iotest.HalfReader(bytes.NewReader(big.Raw)))
	if err != nil || !bytes.Equal(m.Raw, big.Raw) {
		t.Fatalf("read %d octets, %v", len(m.Raw), err)
	}
	if _, err := diameter.ReadMessage(bytes.NewReader(big.Raw[:len(big.Raw)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v for a cut message", err)
	}
}
