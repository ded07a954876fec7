package peer

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"gygate/diameter"
)

// Encoded AVPs.

func text(a diameter.Attribute, s string) []byte { return diameter.AppendString(nil, a, s) }

func u32(a diameter.Attribute, v uint32) []byte { return diameter.AppendUint32(nil, a, v) }

func octets(a diameter.Attribute, data ...byte) []byte { return diameter.AppendBytes(nil, a, data) }

func group(a diameter.Attribute, members ...[]byte) []byte {
	return diameter.AppendGroup(nil, a, func(b []byte) []byte { return append(b, bytes.Join(members, nil)...) })
}

// subscriber stands in every request of these tests and in no answer.
const subscriber = "8613800000001"

var (
	unknownAVP = diameter.Attribute{Code: 60001, Vendor: 99999, Flags: diameter.AVPMandatory}
	newerAVP   = diameter.Attribute{Code: 4999, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
	unitsAVP   = group(diameter.RequestedServiceUnit, u32(diameter.CCTime, 60))
)

// edit is how the AVPs of a good CCR are changed.
type edit func(avps [][]byte) [][]byte

// good is a CCR-Update as gateways send it, AVP by AVP.
func good() [][]byte {
	return [][]byte{
		text(diameter.SessionID, "vpn.example.org;1;1"), text(diameter.OriginHost, vpnHost), text(diameter.OriginRealm, realm),
		text(diameter.DestinationRealm, realm), u32(diameter.AuthApplicationID, 4), text(diameter.ServiceContextID, "32260@3gpp.org"),
		u32(diameter.CCRequestType, 2), u32(diameter.CCRequestNumber, 7),
		group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), text(diameter.SubscriptionIDData, subscriber)),
	}
}

func encodeRequest(hop uint32, avps [][]byte) []byte {
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdCreditControl,
		Application: diameter.AppCreditControl, HopByHop: hop, EndToEnd: hop})
	return diameter.Finish(append(b, bytes.Join(avps, nil)...), 0)
}

func is(a diameter.Attribute) func([]byte) bool {
	return func(avp []byte) bool { return binary.BigEndian.Uint32(avp) == a.Code }
}

func with(avps ...[]byte) edit { return func(all [][]byte) [][]byte { return append(all, avps...) } }

func without(a diameter.Attribute) edit {
	return func(all [][]byte) [][]byte { return slices.DeleteFunc(all, is(a)) }
}

// instead puts avp in the place of the AVP of the same code.
func instead(avp []byte) edit {
	return func(all [][]byte) [][]byte {
		all[slices.IndexFunc(all, is(diameter.Attribute{Code: binary.BigEndian.Uint32(avp)}))] = avp
		return all
	}
}

func edits(all ...edit) edit {
	return func(avps [][]byte) [][]byte {
		for _, e := range all {
			avps = e(avps)
		}
		return avps
	}
}

// validation is one request and what comes back for it.
type validation struct {
	name   string // begins with the rows that it proves
	edit   edit
	want   diameter.ResultCode
	failed []byte // what Failed-AVP holds
}

func missing(row, name string, a diameter.Attribute, example ...byte) validation {
	return validation{row + " without " + name, without(a), 5005, octets(a, example...)}
}

// strictValidations are read by the letter.
func strictValidations() []validation {
	session := diameter.SessionID
	session.Vendor = diameter.Vendor3GPP
	bare := group(diameter.Attribute{Code: diameter.ServiceInformation.Code, Flags: diameter.AVPMandatory})
	mac := group(diameter.UserEquipmentInfo, u32(diameter.UserEquipmentInfoType, 1), text(diameter.UserEquipmentInfoValue, "00:11:22:33:44:55"))
	short := octets(diameter.CCRequestNumber, 1, 2, 3)
	zero := []byte{0, 0, 0, 0}
	return []validation{
		{"as it should be", with(), 2001, nil},
		{"A-042 another Auth-Application-Id", instead(u32(diameter.AuthApplicationID, 1)), 5004, u32(diameter.AuthApplicationID, 1)},
		{"A-043 D-083 unknown AVP with M", with(octets(unknownAVP, 0xde, 0xad)), 5001, octets(unknownAVP, 0xde, 0xad)},
		{"A-044 unknown AVP without M", with(octets(diameter.Attribute{Code: 60001, Vendor: 99999}, 1)), 2001, nil},
		{"A-045 unknown AVP with M in a known group",
			with(group(diameter.MultipleServicesCreditControl, u32(diameter.RatingGroup, 100), unitsAVP, octets(unknownAVP, 1))), 5001, octets(unknownAVP, 1)},
		{"A-046 unknown group without M", with(group(diameter.Attribute{Code: 60002}, octets(unknownAVP, 1))), 2001, nil},
		missing("A-047", "Session-Id", diameter.SessionID),
		missing("A-047", "Origin-Host", diameter.OriginHost),
		missing("A-047", "Origin-Realm", diameter.OriginRealm),
		missing("A-047", "Destination-Realm", diameter.DestinationRealm),
		missing("A-047", "Auth-Application-Id", diameter.AuthApplicationID, zero...),
		missing("A-047", "Service-Context-Id", diameter.ServiceContextID),
		missing("A-047", "CC-Request-Type", diameter.CCRequestType, zero...),
		missing("A-047", "CC-Request-Number", diameter.CCRequestNumber, zero...),
		{"A-048 CC-Request-Type 9", instead(u32(diameter.CCRequestType, 9)), 5004, u32(diameter.CCRequestType, 9)},
		{"A-049 CC-Request-Number of 3 octets", instead(short), 5014, u32(diameter.CCRequestNumber, 0)},
		{"A-049 CC-Request-Number of 8 octets", instead(octets(diameter.CCRequestNumber, 0, 0, 0, 0, 0, 0, 0, 1)), 5014, u32(diameter.CCRequestNumber, 0)},
		{"A-050 D-084 AVP length 4", with([]byte{0, 0, 1, 0x16, 0x40, 0, 0, 4}), 5014, u32(diameter.OriginStateID, 0)},
		{"A-050 D-084 AVP length past the end", with([]byte{0, 0, 1, 0x16, 0x40, 0, 0, 40, 0, 0, 0, 1}), 5014, u32(diameter.OriginStateID, 0)},
		{"A-050 D-084 group length past the end", with([]byte{0, 0, 1, 0xbb, 0x40, 0, 0, 60, 0, 0, 0, 1}), 5014, group(diameter.SubscriptionID)},
		{"A-051 two CC-Request-Numbers", with(u32(diameter.CCRequestNumber, 1)), 5009, u32(diameter.CCRequestNumber, 1)},
		{"A-052 Granted-Service-Unit in a request", with(group(diameter.GrantedServiceUnit)), 5008, group(diameter.GrantedServiceUnit)},
		{"A-052 Result-Code in a request", with(u32(diameter.ResultCodeAVP, 2001)), 5008, u32(diameter.ResultCodeAVP, 2001)},
		{"A-053 Session-Id of a vendor, with M", instead(text(session, "x")), 5001, text(session, "x")},
		{"A-053 Session-Id of a vendor, without M", instead(text(diameter.Attribute{Code: 263, Vendor: 10415}, "x")), 5005, text(diameter.SessionID, "")},
		{"A-053 3GPP AVP without V, with M", with(bare), 5001, bare},
		{"A-053 3GPP AVP without V and M", with(group(diameter.Attribute{Code: diameter.ServiceInformation.Code})), 2001, nil},
		{"A-054 wrong length, then unknown AVP", edits(instead(short), with(octets(unknownAVP, 1))), 5014, u32(diameter.CCRequestNumber, 0)},
		{"A-054 unknown AVP, then wrong length", edits(with(octets(unknownAVP, 1)), with(octets(diameter.EventTimestamp, 1))), 5001, octets(unknownAVP, 1)},
		{"A-037 invalid UTF-8", with(group(diameter.SubscriptionID, u32(diameter.SubscriptionIDType, 0), text(diameter.SubscriptionIDData, "\xff\xfe"))),
			5004, text(diameter.SubscriptionIDData, "\xff\xfe")},
		{"D-002 accounting record AVPs", with(u32(diameter.Attribute{Code: 480, Flags: 0x40}, 2), u32(diameter.Attribute{Code: 485, Flags: 0x40}, 0)), 2001, nil},
		{"D-008 Subscription-Id at two levels", with(group(diameter.ServiceInformation, good()[8]), text(diameter.UserName, "sip:u1@example.org")), 2001, nil},
		{"D-018 a MAC as text", with(mac), 2001, nil},
		{"D-030 the order of AVPs", func(all [][]byte) [][]byte { slices.Reverse(all[1:]); return all }, 2001, nil},
	}
}

// lenientValidations are what real gateways send and lenient reading takes.
func lenientValidations() []validation {
	vsai := group(diameter.VendorSpecificApplicationID, u32(diameter.VendorID, 10415), u32(diameter.AuthApplicationID, 4))
	service := func(members ...[]byte) edit { return with(group(diameter.ServiceInformation, members...)) }
	return []validation{
		{"D-001 VSAI instead of Auth-Application-Id", edits(without(diameter.AuthApplicationID), with(vsai)), 2001, nil},
		{"A-052 Granted-Service-Unit in a request", with(group(diameter.GrantedServiceUnit)), 2001, nil},
		{"A-052 Result-Code in a request", with(u32(diameter.ResultCodeAVP, 2001)), 2001, nil},
		{"D-066 in Service-Information", service(u32(newerAVP, 1)), 2001, nil},
		{"D-066 in PS-Information", service(group(diameter.PSInformation, u32(newerAVP, 1))), 2001, nil},
		{"D-066 in IMS-Information", service(group(diameter.IMSInformation, u32(newerAVP, 1))), 2001, nil},
		{"D-066 in MSCC", with(group(diameter.MultipleServicesCreditControl, unitsAVP, u32(newerAVP, 1))), 2001, nil},
		{"D-066 elsewhere", with(u32(newerAVP, 1)), 5001, u32(newerAVP, 1)},
		{"D-066 of another vendor", service(octets(unknownAVP, 1)), 5001, octets(unknownAVP, 1)},
	}
}

func TestValidationOnTheWire(t *testing.T) {
	for mode, cases := range map[string][]validation{"strict": strictValidations(), "lenient": lenientValidations()} {
		t.Run(mode, func(t *testing.T) {
			log, served := newJournal(), 0
			p := opened(t, serve(func(from Remote, m diameter.Message, answer func([]byte)) {
				served++
				echo(from, m, answer)
			}), func(cfg *ServerConfig) {
				cfg.Logger = log.logger()
				if mode == "lenient" {
					cfg.Peers[0].Tolerate = diameter.Lenient
				}
			})
			for i, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					provesNamed(t)
					before := served
					req := mustParse(t, encodeRequest(uint32(i+1), c.edit(good())))
					p.write(req.Raw)
					c.check(t, req, p.read())
					if ran := served - before; (ran == 1) != c.want.Success() {
						t.Errorf("the handler ran %d times", ran)
					}
				})
			}
			if mode == "lenient" {
				proves(t, "D-066")
				log.await("AVP 4999 of vendor 10415") // logged
			}
		})
	}
}

// check compares an answer with what the request deserves; what all answers have
// in common is.
func (c validation) check(t *testing.T, req, a diameter.Message) {
	t.Helper()
	proves(t, "A-054", "A-055", "A-056")
	if got := a.ResultCode(); got != c.want || a.HopByHop != req.HopByHop {
		t.Fatalf("Result-Code %d to %d, want %d to %d", got, a.HopByHop, c.want, req.HopByHop)
	}
	count, failed := map[uint32]int{}, []byte(nil)
	for avp := range a.AVPs() {
		count[avp.Code]++
		if avp.Is(diameter.FailedAVP) {
			failed = avp.Data
		}
	}
	if !bytes.Equal(failed, c.failed) {
		t.Errorf("Failed-AVP holds %x, want %x", failed, c.failed)
	}
	if count[diameter.ResultCodeAVP.Code] != 1 || count[diameter.FailedAVP.Code] > 1 || count[diameter.ErrorReportingHost.Code] != 0 {
		t.Errorf("A-054 A-056: AVPs %v", count)
	}
	if text, ok := a.Find(diameter.ErrorMessage); ok == c.want.Success() || ok && text.Flags != 0 {
		t.Errorf("A-056: Error-Message %t with flags %#x", ok, text.Flags)
	}
	if bytes.Contains(a.Raw, []byte(subscriber)) {
		t.Errorf("A-056: the subscriber stands in the answer %q", a.Raw)
	}
	c.checkKey(t, req, a)
}

// checkKey: an answer to a CCR that can be told apart carries its key, without the
// E bit; else the generic form with the E bit is allowed.
func (c validation) checkKey(t *testing.T, req, a diameter.Message) {
	t.Helper()
	if _, ok := req.Find(diameter.SessionID); !ok {
		return
	}
	if a.Flags&diameter.FlagError != 0 {
		t.Error("A-024: E bit")
	}
	for _, key := range []diameter.Attribute{diameter.SessionID, diameter.CCRequestType, diameter.CCRequestNumber} {
		asked, ok := req.Find(key)
		got, has := a.Find(key)
		if readable := key.Code == diameter.SessionID.Code || len(asked.Data) == 4 && asked.Uint32() < 9; ok && readable && (!has || !bytes.Equal(got.Data, asked.Data)) {
			t.Errorf("A-055: AVP %d is %x, want %x", key.Code, got.Data, asked.Data)
		}
	}
	if app, _ := a.Find(diameter.AuthApplicationID); app.Uint32() != diameter.AppCreditControl {
		t.Errorf("A-055: Auth-Application-Id %d", app.Uint32())
	}
}
