package suite

import (
	"testing"

	"gygate/diameter"
)

// Who pays: every kind of Subscription-Id, and nobody else in mid-session.
func TestIdentities(t *testing.T) {
	proves(t, "B-004", "B-053", "B-061")
	g := startGygate(t, 1000, change{})
	g.exec(`insert into identity (kind, value, bucket, account)
		select kind, value, bucket, id from account, (values (2, 'sip:ada@ims.example'), (3, 'ada@nai.example')) more (kind, value)`)
	c := connect(t, g.address, as)
	const sipURI, nai = 2, 3
	for i, id := range []avp{
		payer, subscription(typeIMSI, imsi), subscription(sipURI, "sip:ada@ims.example"), subscription(nai, "ada@nai.example"), subscription(typePrivate, "group-7001"),
	} {
		s := c.session("i"+string(rune('0'+i)), []string{voice, "8." + voice, "ext.01.001.8." + voice, voice, voice}[i])
		expectCode(t, s.charge(initial, id, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100))), 2001)
		g.holds("CCR-I", 940, 60, 0)
		expectCode(t, s.charge(termination, mscc(usu(seconds(0)), rg(100))), 2001)
	}
	unknown := subscription(77, msisdn)
	a := c.session("i7", voice).charge(initial, unknown, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	expectCode(t, a, 5004)
	expect(t, a, failed(u32(diameter.SubscriptionIDType, 77)))

	s := c.session("i8", voice)
	expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
	other := subscription(typeE164, "8613800000002")
	a = s.charge(update, other, mscc(rsu(), usu(seconds(50)), rg(100)))
	expectCode(t, a, 5004)
	expect(t, a, failed(other))
	g.holds("another subscriber", 940, 60, 0)
	expectCode(t, s.charge(update, mscc(rsu(), usu(seconds(50)), rg(100))), 2001)
	g.holds("none at all", 890, 60, 50)
}

// Reporting-Reasons are taken at either level, and none is needed.
func TestReportingReasons(t *testing.T) {
	proves(t, "B-086", "B-110")
	g := startGygate(t, 1000, change{})
	s := connect(t, g.address, pgw).session("rr", voice)
	expectCode(t, s.initial(mscc(rsu(), rg(100))), 2001)
	for n := range uint32(10) {
		for _, service := range []avp{
			mscc(rsu(), usu(seconds(1)), rg(100), reason(n)), mscc(rsu(), usu(reason(n), seconds(1)), rg(100)),
		} {
			a := s.charge(update, service)
			expectCode(t, a, 2001)
			for _, answered := range all(a, diameter.MultipleServicesCreditControl) {
				code, _ := answered.Find(diameter.ResultCodeAVP)
				valid, ok := answered.Find(diameter.ValidityTime)
				if code.Uint32() != 2001 || ok && valid.Uint32() < 30 {
					t.Errorf("reason %d: %d, valid for %d", n, code.Uint32(), valid.Uint32())
				}
			}
		}
	}
	expectCode(t, s.charge(termination, mscc(usu(seconds(0)), rg(100))), 2001)
	g.holds("twenty reports", 980, 0, 20)
}
