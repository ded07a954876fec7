package diameter_test

import (
	"bytes"
	"testing"

	"gygate/diameter"
)

func BenchmarkValidateCCR(b *testing.B) {
	for _, name := range []string{"G1", "G13"} {
		m := parse(b, golden(b, name))
		d := dictionary()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if fault := d.Validate(m, lenient); fault != nil {
					b.Fatal(fault)
				}
			}
		})
	}
}

// BenchmarkReader is one message of many that arrived together.
func BenchmarkReader(b *testing.B) {
	stream := bytes.Repeat(golden(b, "G1"), 1000)
	source := bytes.NewReader(stream)
	r := diameter.NewReader(source)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			source.Reset(stream)
		}
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// appendCCA writes what the independent encoder wrote into G2.
func appendCCA(b []byte, m diameter.Message) []byte {
	start := len(b)
	b = diameter.StartAnswer(b, m, diameter.Success, origin)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	b = diameter.AppendUint32(b, diameter.CCRequestType, 1)
	b = diameter.AppendUint32(b, diameter.CCRequestNumber, 0)
	b = diameter.AppendUint32(b, diameter.CCSessionFailover, 1)
	b = diameter.AppendGroup(b, diameter.MultipleServicesCreditControl, func(b []byte) []byte {
		b = diameter.AppendGroup(b, diameter.GrantedServiceUnit, func(b []byte) []byte {
			return diameter.AppendUint32(b, diameter.CCTime, 60)
		})
		b = diameter.AppendUint32(b, diameter.RatingGroup, 100)
		b = diameter.AppendUint32(b, diameter.ValidityTime, 300)
		b = diameter.AppendUint32(b, diameter.ResultCodeAVP, 2001)
		return diameter.AppendUint32(b, diameter.TimeQuotaThreshold, 10)
	})
	b = diameter.AppendUint32(b, diameter.CreditControlFailureHandling, 0)
	b = diameter.AppendUint32(b, diameter.OriginStateID, 3973000000)
	return diameter.FinishAnswer(b, start, m)
}

func TestAppendCCA(t *testing.T) {
	m, buffer := parse(t, golden(t, "G1")), make([]byte, 0, 512)
	if got := appendCCA(buffer, m); !bytes.Equal(got, golden(t, "G2")) {
		t.Errorf("answer\n%x\nwant\n%x", got, golden(t, "G2"))
	}
	if n := testing.AllocsPerRun(100, func() { appendCCA(buffer, m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	m, d := parse(t, golden(t, "G1")), dictionary()
	if n := testing.AllocsPerRun(100, func() { d.Validate(m, strict) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendCCA(b *testing.B) {
	m, buffer := parse(b, golden(b, "G1")), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		appendCCA(buffer, m)
	}
}
