package diameter_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
)

var sessionForm = regexp.MustCompile(`^vpnas1\.vpn\.example;\d+;\d+$`)

func TestA095_SessionIDsNeverRepeat(t *testing.T) {
	proves(t, "A-095")
	seen := make(map[string]bool)
	start := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for restart := range 3 { // three starts within one second
		ids := diameter.NewSessionIDs("vpnas1.vpn.example", start.Add(time.Duration(restart)*300*time.Millisecond))
		for range 333_334 {
			id := ids.Next("")
			if seen[id] {
				t.Fatalf("%s came twice", id)
			}
			seen[id] = true
		}
	}
	for id := range seen {
		if !sessionForm.MatchString(id) {
			t.Fatalf("%q has another form", id)
		}
		break
	}
}

func TestSessionIDsConcurrently(t *testing.T) {
	ids := diameter.NewSessionIDs("a.example", time.Unix(1<<32, 0))
	var seen sync.Map
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 2000 {
				if _, twice := seen.LoadOrStore(ids.Next("t"), true); twice {
					t.Error("an id came twice")
				}
			}
		})
	}
	wait.Wait()
}

var (
	traceID = [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
	spanID  = [8]byte{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7}
)

func TestTraceInSessionID(t *testing.T) {
	ids := diameter.NewSessionIDs("vpnas1.vpn.example", time.Now())
	id := ids.Next(diameter.TraceElement(traceID, spanID, 1))
	if len(id) > 128 {
		t.Errorf("%d octets", len(id))
	}
	for _, id := range []string{id, id + ";more"} {
		gotTrace, gotSpan, flags, ok := diameter.ParseTrace(id)
		if !ok || gotTrace != traceID || gotSpan != spanID || flags != 1 {
			t.Errorf("ParseTrace(%q) = %x %x %d %v", id, gotTrace, gotSpan, flags, ok)
		}
	}
}

func TestTraceIsLeftOutOfLongSessionID(t *testing.T) {
	host := strings.Repeat("x", 100)
	id := diameter.NewSessionIDs(host, time.Now()).Next(diameter.TraceElement(traceID, spanID, 1))
	if len(id) > 128 || strings.Count(id, ";") != 2 {
		t.Errorf("%q has %d octets", id, len(id))
	}
}

func TestParseTraceRefuses(t *testing.T) {
	element := diameter.TraceElement(traceID, spanID, 1)
	for _, id := range []string{
		"", ";", "a;1;2", "a;1;2;", "a;1;2;t1.", element, ";" + element, "a;1;" + element, "a;1;2;x" + element,
		"a;1;2;" + element[:len(element)-1], "a;1;2;" + element + "A",
		"a;1;2;" + element[:len(element)-1] + "\n", "a;1;2;" + element[:len(element)-1] + "=",
		"a;1;2;" + element[:10] + "*" + element[11:],
		"a;1;2;" + diameter.TraceElement([16]byte{}, spanID, 1), "a;1;2;" + diameter.TraceElement(traceID, [8]byte{}, 1),
	} {
		if _, _, _, ok := diameter.ParseTrace(id); ok {
			t.Errorf("ParseTrace took %q", id)
		}
	}
}
