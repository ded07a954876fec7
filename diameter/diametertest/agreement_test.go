package diametertest_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fiorix/go-diameter/v4/diam"

	"gygate/diameter"
)

func golden(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "testdata", "golden", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(file)) {
		if line[0] != '#' {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	raw, err := hex.DecodeString(digits.String())
	if err != nil || len(raw) == 0 {
		t.Fatal(len(raw), err)
	}
	return raw
}

// go-diameter's reader and ours see the same AVPs in the golden messages that
// it can read: not the unknown command (G6, G7) nor the broken length (G16).
func TestGoldenMessagesReadAlike(t *testing.T) {
	d, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("G1 G2 G3 G4 G5 G8 G9 G10 G11 G12 G13 G14 G15 G17") {
		t.Run(name, func(t *testing.T) {
			raw := golden(t, name)
			theirs, err := diam.ReadMessage(bytes.NewReader(raw), d.Parser())
			if err != nil {
				t.Fatal(err)
			}
			ours, err := diameter.ParseMessage(raw)
			if err != nil {
				t.Fatal(err)
			}
			if theirs.Header.CommandCode != ours.Command || theirs.Header.HopByHopID != ours.HopByHop ||
				theirs.Header.EndToEndID != ours.EndToEnd || theirs.Header.CommandFlags != uint8(ours.Flags) {
				t.Errorf("header %+v, ours %+v", theirs.Header, ours.Header)
			}
			compare(t, theirs.AVP, ours.Body())
			if again, err := theirs.Serialize(); err != nil || !bytes.Equal(again, raw) {
				t.Errorf("written again as %x, %v", again, err)
			}
		})
	}
}

// compare compares what both read, group by group.
func compare(t *testing.T, theirs []*diam.AVP, ours []byte) {
	t.Helper()
	i := 0
	for a := range diameter.Walk(ours) {
		if i == len(theirs) {
			t.Fatalf("AVP %d is one more than they read", a.Code)
		}
		b := theirs[i]
		i++
		if a.Code != b.Code || a.Vendor != b.VendorID || a.Flags != b.Flags {
			t.Errorf("AVP %d of vendor %d, they read %d of %d", a.Code, a.Vendor, b.Code, b.VendorID)
		}
		if group, ok := b.Data.(*diam.GroupedAVP); ok {
			compare(t, group.AVP, a.Data)
		} else if !bytes.Equal(a.Data, b.Data.Serialize()) {
			t.Errorf("AVP %d holds %x, they read %x", a.Code, a.Data, b.Data.Serialize())
		}
	}
	if i != len(theirs) {
		t.Errorf("we read %d AVPs, they %d", i, len(theirs))
	}
}

// Our numbers are the library's wherever it has a name for them.
func TestCodesAgree(t *testing.T) {
	for theirs, ours := range map[int]uint32{
		diam.CapabilitiesExchange: diameter.CmdCapabilitiesExchange,
		diam.ReAuth:               diameter.CmdReAuth,
		diam.CreditControl:        diameter.CmdCreditControl,
		diam.AbortSession:         diameter.CmdAbortSession,
		diam.DeviceWatchdog:       diameter.CmdDeviceWatchdog,
		diam.DisconnectPeer:       diameter.CmdDisconnectPeer,
	} {
		if uint32(theirs) != ours {
			t.Errorf("command %d is %d here", theirs, ours)
		}
	}
	for theirs, ours := range map[int]diameter.ResultCode{
		diam.Success: diameter.Success, diam.LimitedSuccess: diameter.LimitedSuccess,
		diam.CommandUnsupported: diameter.CommandUnsupported, diam.UnableToDeliver: diameter.UnableToDeliver,
		diam.RealmNotServed: diameter.RealmNotServed, diam.TooBusy: diameter.TooBusy,
		diam.LoopDetected: diameter.LoopDetected, diam.RedirectIndication: diameter.RedirectIndication,
		diam.ApplicationUnsupported: diameter.ApplicationUnsupported, diam.InvalidHDRBits: diameter.InvalidHeaderBits,
		diam.InvalidAVPBits: diameter.InvalidAVPBits, diam.UnknownPeer: diameter.UnknownPeer,
		diam.ElectionLost: diameter.ElectionLost, diam.AVPUnsupported: diameter.AVPUnsupported,
		diam.UnknownSessionID: diameter.UnknownSessionID, diam.AuthorizationRejected: diameter.AuthorizationRejected,
		diam.InvalidAVPValue: diameter.InvalidAVPValue, diam.MissingAVP: diameter.MissingAVP,
		diam.ResourcesExceeded: diameter.ResourcesExceeded, diam.ContradictingAVPs: diameter.ContradictingAVPs,
		diam.AVPNotAllowed: diameter.AVPNotAllowed, diam.AVPOccursTooManyTimes: diameter.AVPOccursTooManyTimes,
		diam.NoCommonApplication: diameter.NoCommonApplication, diam.UnsupportedVersion: diameter.UnsupportedVersion,
		diam.UnableToComply: diameter.UnableToComply, diam.InvalidAVPLenght: diameter.InvalidAVPLength,
		diam.InvalidMessageLength: diameter.InvalidMessageLength, diam.InvalidAVPBitCombo: diameter.InvalidAVPBitCombo,
		diam.NoCommonSecurity: diameter.NoCommonSecurity,
	} {
		if uint32(theirs) != uint32(ours) {
			t.Errorf("Result-Code %d is %d here", theirs, ours)
		}
	}
}

// A Failed-AVP must not break off a connection of go-diameter, which decodes it
// by type and panics on a header alone.
func TestErrorAnswersAreReadable(t *testing.T) {
	d, err := diameter.NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []diameter.Attribute{
		diameter.OriginStateID, diameter.CCTotalOctets, diameter.ValueDigits, diameter.EventTimestamp, diameter.FinalUnitAction,
		diameter.HostIPAddress, diameter.UserName, diameter.RouteRecord, diameter.SubscriptionID, diameter.ReportingReason,
		diameter.NetworkCallReferenceNumber, {Code: 60001}, {Code: 60001, Vendor: 99999},
	} {
		b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdCreditControl, Application: diameter.AppCreditControl})
		b = diameter.AppendBytes(b, a, nil)
		b[len(b)-1-4*min(1, int(a.Vendor))] = 200 // the length runs past the end
		ccr, err := diameter.ParseMessage(diameter.Finish(b, 0))
		if err != nil {
			t.Fatal(err)
		}
		fault := d.Validate(ccr, diameter.Lenient)
		if fault == nil || fault.Code != diameter.InvalidAVPLength {
			t.Fatalf("%s: %v", d.Name(a.Code, a.Vendor), fault)
		}
		answer := diameter.ErrorAnswer(nil, ccr, fault, server)
		if _, err := diam.ReadMessage(bytes.NewReader(answer), d.Parser()); err != nil {
			t.Errorf("%s: %v in answer %x", d.Name(a.Code, a.Vendor), err, answer)
		}
	}
}
