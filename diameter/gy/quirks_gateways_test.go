package gy

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Gateways of Cisco, Nokia and Ericsson as their manuals describe them, and what
// other stacks and agents do (conformance D-050 to D-066).

// packetGateway writes an ordinary CCR of a packet gateway.
func packetGateway(s *quirkSession, kind ocs.StepType, number uint32, services []byte) []byte {
	var first, last []byte
	if kind == ocs.Initial {
		first = u32(diameter.MultipleServicesIndicator, 1)
	}
	if kind == ocs.Terminate {
		last = u32(diameter.TerminationCause, max(s.cause, causeLogout))
	}
	return slices.Concat(
		s.origin(), u32(diameter.AuthApplicationID, 4), str(diameter.ServiceContextID, "8."+s.context),
		u32(diameter.CCRequestType, uint32(kind)), u32(diameter.CCRequestNumber, number), s.eventTimestamp(), s.payer,
		first, services, last, group(diameter.ServiceInformation, group(diameter.PSInformation, quirkChargingID, s.newer), s.newer),
	)
}

func (q *quirks) packetGateway() *quirkSession { return q.session(packetGateway, ContextData) }

func octetUse(n uint64) []byte { return usu(ccTotal(n)) }

// D-050: which codes are acted on inside the MSCC, and which at the command.
func TestQuirkLevelOfCodes(t *testing.T) {
	proves(t, "D-050")
	blocked := func(a *ocs.Account) { a.Blocked = &ocs.Flag{By: "test"} }
	for _, c := range []struct {
		name    string
		set     quirkSetting
		payer   string
		groups  []uint32
		command diameter.ResultCode
		inside  []diameter.ResultCode
	}{
		{"4010 inside", quirkSetting{account: blocked}, quirkNumber, []uint32{10}, 2001, []diameter.ResultCode{4010}},
		{"4012 inside", quirkSetting{money: "0"}, quirkNumber, []uint32{10, 20}, 2001, []diameter.ResultCode{4012, 4012}},
		{"4012 of one of two", quirkSetting{money: "1.00"}, quirkNumber, []uint32{10, 20}, 2001, []diameter.ResultCode{2001, 4012}},
		{"5031 inside", quirkSetting{}, quirkNumber, []uint32{quirkNoPrice}, 2001, []diameter.ResultCode{5031}},
		{"5031 of one of two", quirkSetting{}, quirkNumber, []uint32{10, quirkNoPrice}, 2001, []diameter.ResultCode{2001, 5031}},
		{"4011 at the command", quirkSetting{}, quirkNumber, []uint32{quirkFreeData}, 4011, nil},
		{"5030 at the command", quirkSetting{}, "8613800000099", []uint32{10}, 5030, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			onQuirks(t, c.set, func(q *quirks) {
				s := q.packetGateway()
				s.payer = quirkSubscription(ocs.E164, c.payer)
				var services []byte
				for _, n := range c.groups {
					services = append(services, mscc(rsu(), rg(n))...)
				}
				s.charge(ocs.Initial, c.command, services, c.inside...)
				session := q.books.Session(s.id)
				if (session != nil && session.Open()) != (c.command == 2001) {
					t.Errorf("session %+v", session)
				}
			})
		})
	}
	t.Run("in mid-session", func(t *testing.T) {
		onQuirks(t, quirkSetting{}, func(q *quirks) {
			s := q.packetGateway()
			s.charge(ocs.Initial, 2001, mscc(rsu(), rg(10)), 2001)
			q.books.Block(q, q.key)
			s.charge(ocs.Update, 2001, mscc(rsu(), octetUse(10_000_000), rg(10)), 4010)
			q.ledger("CCR-U", "9.90", "0", "0.10")
			s.charge(ocs.Terminate, 2001, mscc(octetUse(1_000_000), rg(10)), 2001)
			q.ledger("CCR-T", "9.89", "0", "0.11")
		})
	})
}

// D-052: after a redirection it reports without asking, and without a rating
// group: nothing is reserved, and it may come back when the Validity-Time is over.
func TestQuirkReportAfterRedirect(t *testing.T) {
	proves(t, "D-052")
	redirect := ocs.ServiceOptions{FinalAction: ocs.FinalRedirect, Redirect: &ocs.Redirect{Type: 2, Address: "http://topup.example"}}
	for name, target := range map[string][]byte{"without group": nil, "with group": rg(10)} {
		t.Run(name, func(t *testing.T) {
			onQuirks(t, quirkSetting{money: "0.50", data: redirect}, func(q *quirks) {
				s := q.packetGateway()
				if a := s.charge(ocs.Initial, 2001, mscc(rsu(), rg(10)), 2001); a.Services[0].FinalUnit != Some(uint32(1)) {
					t.Errorf("%+v", a.Services)
				}
				a := s.charge(ocs.Update, 2001, mscc(octetUse(50_000_000), target), 2001)
				if got := a.Services[0]; got.Validity == 0 || got.Granted.Present || got.RatingGroup.Present != (target != nil) {
					t.Errorf("%+v", got)
				}
				q.ledger("CCR-U", "0", "0", "0.50")
				q.books.TopUp(q.key, 0, int64(q.money("2.00")))
				pass(time.Duration(a.Services[0].Validity) * time.Second)
				if a = s.charge(ocs.Update, 2001, mscc(target), 2001); !a.Services[0].Granted.Present || a.Services[0].FinalUnit.Present {
					t.Errorf("%+v", a.Services)
				}
				q.ledger("the Validity-Time", "1.00", "1.00", "0.50")
			})
		})
	}
}

// D-053: quotas of octets are totals, whatever was requested.
func TestQuirkTotalOctetsOnly(t *testing.T) {
	proves(t, "D-053")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s, kind := q.packetGateway(), ocs.Initial
		for _, wish := range [][]byte{nil, ccTotal(30_000_000), slices.Concat(ccInput(10_000_000), ccOutput(20_000_000)), ccOutput(5_000_000)} {
			a := s.charge(kind, 2001, mscc(rsu(wish), rg(10)), 2001)
			units, _ := a.msccs()[0].Find(diameter.GrantedServiceUnit)
			if codes := quirkMembers(units); !slices.Equal(codes, []uint32{diameter.CCTotalOctets.Code}) {
				t.Errorf("asked %x: granted %v", wish, codes)
			}
			kind = ocs.Update
		}
	})
}

// D-060: what got no answer comes again, with the same identifiers or new ones, and
// never with T; so does what was refused. Each takes effect once.
func TestQuirkRepeatsWithoutT(t *testing.T) {
	proves(t, "D-060")
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.packetGateway()
		q.repeated(t, s, ocs.Initial, mscc(rsu(), rg(10)))
		q.repeated(t, s, ocs.Update, mscc(rsu(), octetUse(40_000_000), rg(10)))
		q.repeated(t, s, ocs.Terminate, mscc(octetUse(10_000_000), rg(10)))
		q.ledger("the end", "9.50", "0", "0.50")
		poor := q.packetGateway()
		poor.context = ContextSIP
		q.books.Change(q.key, func(a *ocs.Account) { a.Threshold = q.money("100.00") })
		q.repeated(t, poor, ocs.Initial, mscc(rsu(), rg(100)))
		q.ledger("refusals", "9.50", "0", "0.50")
	})
}

// repeated sends the session's next request three times: as it is, with another
// Hop-by-Hop Identifier, and with both identifiers new.
func (q *quirks) repeated(t *testing.T, s *quirkSession, kind ocs.StepType, services []byte) {
	t.Helper()
	m := s.request(kind, services)
	first := q.served(m)
	rows := q.rows()
	sameEnd := slices.Clone(m.Raw)
	binary.BigEndian.PutUint32(sameEnd[12:], m.HopByHop+0x1000)
	anew := slices.Clone(sameEnd)
	binary.BigEndian.PutUint32(anew[16:], m.EndToEnd+0x1000)
	for _, copied := range [][]byte{sameEnd, anew} {
		if again := q.served(parse(t, copied)); again.charging() != first.charging() {
			t.Errorf("CCR-%d again:\n%s\nfirst:\n%s", kind, again.charging(), first.charging())
		}
	}
	if n := q.rows(); n != rows {
		t.Errorf("CCR-%d: %d journal rows for its repeats", kind, n-rows)
	}
}

// D-061: nothing is left in mid-session: a code, not zero units.
func TestQuirkNoZeroQuota(t *testing.T) {
	proves(t, "D-061")
	onQuirks(t, quirkSetting{money: "1.00"}, func(q *quirks) {
		s := q.packetGateway()
		s.charge(ocs.Initial, 2001, mscc(rsu(), rg(10)), 2001)
		a := s.charge(ocs.Update, 2001, mscc(rsu(), octetUse(100_000_000), rg(10)), 4012)
		if got := a.Services[0]; got.Granted.Present || got.FinalUnit.Present {
			t.Errorf("%+v", got)
		}
		q.ledger("CCR-U", "0", "0", "1.00")
	})
}

// D-062: quotas of octets come with a threshold below them, so that traffic need
// not wait for the next; a final one has no next.
func TestQuirkThresholds(t *testing.T) {
	proves(t, "D-062")
	onQuirks(t, quirkSetting{money: "2.50"}, func(q *quirks) {
		s := q.packetGateway()
		kind, use := ocs.Initial, []byte(nil)
		for final := false; !final; kind, use = ocs.Update, octetUse(90_000_000) {
			got := s.charge(kind, 2001, mscc(rsu(), use, rg(10)), 2001).Services[0]
			final = got.FinalUnit.Present
			if granted := got.Granted.Value.Total.Value; (got.VolumeThreshold == 0) != final || uint64(got.VolumeThreshold) >= granted {
				t.Errorf("threshold %d of %d, final %v", got.VolumeThreshold, granted, final)
			}
		}
	})
}

// D-063: every Subscription-Id counts, wherever it stands.
func TestQuirkEverySubscriptionCounts(t *testing.T) {
	proves(t, "D-063")
	known := quirkSubscription(ocs.E164, quirkNumber)
	imsi := quirkSubscription(ocs.IMSI, quirkIMSI)
	strange := quirkSubscription(ocs.Private, "imei-35-209900-176148-1")
	roaming := quirkSubscription(ocs.NAI, "nobody@other.example")
	for name, payer := range map[string][][]byte{
		"IMSI, E.164":            {imsi, known},
		"E.164, IMSI":            {known, imsi},
		"stranger first":         {strange, known},
		"stranger last":          {known, strange},
		"third of three":         {strange, roaming, imsi},
		"between two others":     {roaming, known, strange},
		"IMSI after a stranger":  {roaming, imsi},
		"E.164 behind all other": {strange, roaming, imsi, known},
	} {
		t.Run(name, func(t *testing.T) {
			onQuirks(t, quirkSetting{}, func(q *quirks) {
				s := q.packetGateway()
				s.payer = slices.Concat(payer...)
				s.charge(ocs.Initial, 2001, mscc(rsu(), rg(10)), 2001)
				q.ledger("CCR-I", "9.00", "1.00", "0")
			})
		})
	}
}

// D-058: a group's FINAL stands in a CCR-U, in the CCR-T, or nowhere.
func TestQuirkFinalReportAnywhere(t *testing.T) {
	proves(t, "D-058")
	for name, end := range map[string]func(s *quirkSession){
		"in the CCR-U": func(s *quirkSession) {
			s.charge(ocs.Update, 2001, mscc(octetUse(10_000_000), rg(10), reportingReason(2)), 2001)
			s.ledger("the group's end", "7.90", "2.00", "0.10")
			s.charge(ocs.Terminate, 2001, mscc(octetUse(0), rg(20), reportingReason(2)), 2001)
		},
		"in the CCR-T": func(s *quirkSession) {
			s.charge(ocs.Terminate, 2001, slices.Concat(mscc(usu(ccTotal(10_000_000), reportingReason(2)), rg(10)),
				mscc(octetUse(0), rg(20), reportingReason(2))), 2001, 2001)
		},
		"nowhere": func(s *quirkSession) {
			s.charge(ocs.Terminate, 2001, mscc(octetUse(10_000_000), rg(10), reportingReason(2)), 2001)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onQuirks(t, quirkSetting{}, func(q *quirks) {
				s := q.packetGateway()
				s.charge(ocs.Initial, 2001, slices.Concat(mscc(rsu(), rg(10)), mscc(rsu(), rg(20))), 2001, 2001)
				q.ledger("CCR-I", "7.00", "3.00", "0")
				end(s)
				q.ledger("CCR-T", "9.90", "0", "0.10")
				if strings.Contains(q.log.String(), "level=ERROR") {
					t.Errorf("log: %s", q.log)
				}
			})
		})
	}
}

// D-066: mandatory AVPs of a newer release, where they describe the service, are
// passed over; at the command, or of a strict peer, they are a fault.
func TestQuirkNewerAVPs(t *testing.T) {
	proves(t, "D-066")
	newer := diameter.Attribute{Code: 59999, Vendor: diameter.Vendor3GPP, Flags: diameter.AVPMandatory}
	onQuirks(t, quirkSetting{}, func(q *quirks) {
		s := q.packetGateway()
		s.newer = u32(newer, 1)
		inside := s.request(ocs.Initial, mscc(rsu(), rg(10), s.newer))
		outside := q.packetGateway().request(ocs.Initial, mscc(rsu(), rg(10)), u32(newer, 1))
		for _, c := range []struct {
			m    diameter.Message
			mode diameter.Mode
		}{{inside, diameter.Mode{}}, {outside, diameter.Lenient}} {
			if fault := dictionary().Validate(c.m, c.mode); fault == nil || fault.Code != diameter.AVPUnsupported {
				t.Errorf("%+v: %v", c.mode, fault)
			}
		}
		q.served(inside).has(t, 2001, 2001)
		q.ledger("CCR-I", "9.00", "1.00", "0")
	})
}
