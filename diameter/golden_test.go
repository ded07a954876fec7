package diameter_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gygate/diameter"
)

// origin is the server of the golden messages.
var origin = diameter.Origin{Host: "ocs1.vpn.example", Realm: "vpn.example"}

// dictionary is shared: it never changes.
var dictionary = sync.OnceValue(func() *diameter.Dictionary {
	d, err := diameter.NewDictionary()
	if err != nil {
		panic(err)
	}
	return d
})

var headline = regexp.MustCompile(`(?m)^# (\d+) octets, sha256 ([0-9a-f]{16})$`)

// golden reads one of the seventeen messages of an independent encoder and
// checks its length and digest.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "golden", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	head := headline.FindStringSubmatch(string(file))
	if head == nil {
		t.Fatalf("%s has no line with length and digest", name)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(file)) {
		if line[0] != '#' {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	raw, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(raw); fmt.Sprint(len(raw)) != head[1] || hex.EncodeToString(sum[:8]) != head[2] {
		t.Fatalf("%s: %d octets, sha256 %x, want %s and %s", name, len(raw), sum[:8], head[1], head[2])
	}
	return raw
}

// parse takes raw as a message.
func parse(t testing.TB, raw []byte) diameter.Message {
	t.Helper()
	m, err := diameter.ParseMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reencode walks m and writes it again with the append encoders. groups are
// opened as deep as isGroup says.
func reencode(m diameter.Message, isGroup func(diameter.AVP) bool) []byte {
	b := diameter.Start(nil, m.Header)
	return diameter.Finish(appendAll(b, m.Body(), isGroup), 0)
}

func appendAll(b, avps []byte, isGroup func(diameter.AVP) bool) []byte {
	for a := range diameter.Walk(avps) {
		attribute := diameter.Attribute{Code: a.Code, Vendor: a.Vendor, Flags: a.Flags}
		switch {
		case a.Flags&diameter.AVPVendor != 0 && a.Vendor == 0:
			b = diameter.AppendRaw(b, a.Raw) // the encoders never write this
		case isGroup(a):
			b = diameter.AppendGroup(b, attribute, func(b []byte) []byte { return appendAll(b, a.Data, isGroup) })
		default:
			b = diameter.AppendBytes(b, attribute, a.Data)
		}
	}
	return b
}

// groups are the grouped AVPs of the golden messages.
func isGroup(a diameter.AVP) bool {
	for _, g := range []diameter.Attribute{diameter.ProxyInfo, diameter.FailedAVP, diameter.SubscriptionID,
		diameter.MultipleServicesCreditControl, diameter.RequestedServiceUnit, diameter.UsedServiceUnit,
		diameter.GrantedServiceUnit, diameter.FinalUnitIndication, diameter.CostInformation, diameter.UnitValue,
		diameter.ServiceInformation, diameter.IMSInformation, diameter.VCSInformation, diameter.ServiceSpecificInfo} {
		if a.Is(g) {
			return true
		}
	}
	return false
}

func TestGoldenMessagesBothWays(t *testing.T) {
	for i := 1; i <= 17; i++ {
		name := fmt.Sprintf("G%d", i)
		if name == "G16" {
			continue // unreadable by design: TestGoldenLengthFault
		}
		t.Run(name, func(t *testing.T) {
			raw := golden(t, name)
			read, err := diameter.ReadMessage(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read.Raw, raw) {
				t.Error("read other octets than were written")
			}
			if got := reencode(read, isGroup); !bytes.Equal(got, raw) {
				t.Errorf("re-encoded\n%x\nwant\n%x", got, raw)
			}
		})
	}
}

// What Validate says about each: all are clean but the three made to be refused
// and the command nobody knows.
func TestGoldenMessagesValidated(t *testing.T) {
	faults := map[string]diameter.ResultCode{
		"G4":  diameter.MissingAVP,
		"G6":  diameter.CommandUnsupported,
		"G7":  diameter.CommandUnsupported,
		"G14": diameter.AVPUnsupported,
		"G16": diameter.InvalidAVPLength,
	}
	for i := 1; i <= 17; i++ {
		name := fmt.Sprintf("G%d", i)
		for _, mode := range []diameter.Mode{{}, diameter.Lenient} {
			t.Run(fmt.Sprintf("%s/strict=%v", name, mode == diameter.Mode{}), func(t *testing.T) {
				fault := dictionary().Validate(parse(t, golden(t, name)), mode)
				switch want := faults[name]; {
				case fault == nil && want != 0:
					t.Errorf("no fault, want %d", want)
				case fault != nil && fault.Code != want:
					t.Errorf("%v, want %d", fault, want)
				}
			})
		}
	}
}

// The error answers of an independent encoder are ours, octet for octet. The
// goldens have an Error-Message in G5 only, so it is left out of the others.
func TestGoldenErrorAnswers(t *testing.T) {
	for request, want := range map[string]string{"G4": "G5", "G6": "G7", "G14": "G15", "G16": "G17"} {
		t.Run(request+" gets "+want, func(t *testing.T) {
			m := parse(t, golden(t, request))
			fault := dictionary().Validate(m, diameter.Lenient)
			if fault == nil {
				t.Fatal("no fault")
			}
			if fault.Text == "" || fault.Fatal {
				t.Errorf("fault %+v: want a text, and the connection kept", fault)
			}
			if want != "G5" {
				fault.Text = ""
			}
			if got := diameter.ErrorAnswer(nil, m, fault, origin); !bytes.Equal(got, golden(t, want)) {
				t.Errorf("answer\n%x\nwant\n%x", got, golden(t, want))
			}
		})
	}
}

// the length of the last AVP runs past the end of the message.
func TestGoldenLengthFault(t *testing.T) {
	m := parse(t, golden(t, "G16"))
	fault := dictionary().Validate(m, diameter.Lenient)
	if fault == nil || fault.Code != diameter.InvalidAVPLength {
		t.Fatalf("fault %v, want 5014", fault)
	}
	failed := avps(fault.Failed)
	if len(failed) != 1 || !failed[0].Is(diameter.OriginStateID) || !bytes.Equal(failed[0].Data, make([]byte, 4)) {
		t.Errorf("Failed-AVP %x, want Origin-State-Id with four zero octets", fault.Failed)
	}
}

func avps(b []byte) []diameter.AVP {
	var all []diameter.AVP
	for a := range diameter.Walk(b) {
		all = append(all, a)
	}
	return all
}
