package harness

import "testing"

// The frames as tshark writes them: severities, their messages, then the rest.
func TestDoubtful(t *testing.T) {
	for _, c := range []struct {
		frame string
		want  bool
	}{
		{"6291456\tData is empty\t7\t272\t1", false},
		{"2097152|6291456\tConnection establish acknowledge (SYN+ACK)|Data is empty\t7\t272\t1", false},
		{"6291456|6291456\tData is empty|Unknown AVP\t7\t272\t1", true},
		{"8388608\tMalformed Packet (Exception occurred)\t7\t272\t1", true},
		{"\t\t7\t272\t1", true}, // malformed without a word
	} {
		if got := doubtful(c.frame); got != c.want {
			t.Errorf("doubtful(%q) = %v", c.frame, got)
		}
	}
}
