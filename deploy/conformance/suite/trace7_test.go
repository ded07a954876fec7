package suite

import (
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

const megabyte = 1_000_000

// megabytes is the answer to a service of a data session: a hundred of them.
func megabytes(group uint32) avp {
	return mscc(gsu(total(100*megabyte)), rg(group), validity(1800), result(2001), u32(diameter.VolumeQuotaThreshold, 10*megabyte))
}

// Trace 7: a data session with two rating groups, a third one without a price, and
// parallel updates.
func TestTrace7(t *testing.T) {
	proves(t, "A-031", "B-037", "B-073", "B-079", "B-088", "B-090", "B-093", "B-096", "B-097", "B-101", "B-102", "B-112")
	g := startGygate(t, 2000, change{})
	s := connect(t, g.address, pgw).session("5", data)
	content := group(diameter.ServiceInformation, group(diameter.PSInformation, u32(flagged(2, 10415, 0), 7)))
	a := s.charge(initial, subscription(typeIMSI, imsi), payer, u32(diameter.MultipleServicesIndicator, 1),
		mscc(rsu(), rg(10)), mscc(rsu(), rg(20)), content)
	expectCode(t, a, 2001)
	expect(t, a, megabytes(10), megabytes(20))
	expectNone(t, a, diameter.GrantedServiceUnit, diameter.ValidityTime)
	g.holds("CCR-I", 1700, 300, 0)

	report := usu(reason(0), u64(diameter.CCInputOctets, 10*megabyte), u64(diameter.CCOutputOctets, 80*megabyte))
	expect(t, s.charge(update, mscc(rsu(), report, rg(20))), megabytes(20))
	g.holds("U#1", 1520, 300, 180)

	second := s.send(update, mscc(rsu(), usu(reason(0), total(90*megabyte)), rg(10)))
	third := s.send(update, mscc(rsu(), rg(30)))
	got := s.answers(second, third)
	expectCode(t, got[second.HopByHop], 2001)
	expect(t, got[second.HopByHop], megabytes(10))
	expectCode(t, got[third.HopByHop], 2001)
	expect(t, got[third.HopByHop], mscc(rg(30), result(5031)), failed(mscc(rg(30))))
	g.holds("U#2 and U#3", 1430, 300, 270)

	a = s.charge(update, mscc(usu(total(5*megabyte)), rg(10), reason(1)))
	expectCode(t, a, 2001)
	expect(t, a, mscc(rg(10), result(2001)))
	g.holds("U#4", 1525, 200, 275)

	a = s.charge(termination, u32(diameter.TerminationCause, 1), mscc(usu(total(30*megabyte)), rg(20), reason(2)))
	expectCode(t, a, 2001)
	expect(t, a, mscc(rg(20), result(2001)))
	g.holds("T#5", 1665, 0, 335)
}

func TestTrace7Variants(t *testing.T) {
	opened := func(t *testing.T, balance ocs.Money, id string, groups ...uint32) (*gygate, *session) {
		g := startGygate(t, balance, change{})
		s := connect(t, g.address, pgw).session(id, data)
		var services []avp
		for _, n := range groups {
			services = append(services, mscc(rsu(), rg(n)))
		}
		expectCode(t, s.initial(services...), 2001)
		return g, s
	}
	t.Run("7b a group is missing in the end", func(t *testing.T) {
		proves(t, "D-058")
		g, s := opened(t, 2000, "7b", 10, 20)
		expectCode(t, s.charge(termination, mscc(usu(total(50*megabyte)), rg(20))), 2001)
		g.holds("CCR-T", 1900, 0, 100)
	})
	t.Run("7c neither rating group nor service", func(t *testing.T) {
		proves(t, "B-092", "D-019")
		g := startGygate(t, 2000, change{})
		a := connect(t, g.address, pgw).session("7c", data).initial(mscc(rsu()))
		expectCode(t, a, 2001)
		expect(t, a, mscc(gsu(total(100*megabyte)), validity(1800), result(2001), u32(diameter.VolumeQuotaThreshold, 10*megabyte)))
		g.holds("CCR-I", 1900, 100, 0)
	})
	t.Run("7d money for one group only", func(t *testing.T) {
		proves(t, "B-037")
		g := startGygate(t, 100, change{})
		s := connect(t, g.address, pgw).session("7d", data)
		a := s.initial(mscc(rsu(), rg(10)), mscc(rsu(), rg(20)))
		expectCode(t, a, 2001)
		refused := 0
		for _, m := range all(a, diameter.MultipleServicesCreditControl) {
			if code, _ := m.Find(diameter.ResultCodeAVP); code.Uint32() == 4012 {
				refused++
			}
		}
		if refused != 1 || g.open() != 1 {
			t.Errorf("%d groups refused, %d sessions open", refused, g.open())
		}
	})
	t.Run("7e the service is named at the end only", func(t *testing.T) {
		proves(t, "D-034")
		g, s := opened(t, 2000, "7e", 10)
		expectCode(t, s.charge(termination, mscc(usu(total(30*megabyte)), rg(10), si(4))), 2001)
		g.holds("CCR-T", 1970, 0, 30)
	})
	t.Run("7f five updates at once", func(t *testing.T) {
		proves(t, "D-035")
		g, s := opened(t, 2000, "7f", 10, 20)
		var sent []diameter.Header
		for _, n := range []uint32{10, 20, 10, 20, 10} {
			sent = append(sent, s.send(update, mscc(rsu(), usu(total(megabyte)), rg(n))))
		}
		for _, a := range s.answers(sent...) {
			expectCode(t, a, 2001)
		}
		g.holds("five updates", 1693, 300, 7)
	})
	t.Run("4011 for one service", func(t *testing.T) {
		proves(t, "B-152")
		g := startGygate(t, 2000, change{})
		a := connect(t, g.address, pgw).session("7g", data).initial(mscc(rsu(), rg(11)), mscc(rsu(), rg(10)))
		expectCode(t, a, 2001)
		expect(t, a, mscc(rg(11), result(4011)), megabytes(10))
		g.holds("CCR-I", 1900, 100, 0)
	})
}
