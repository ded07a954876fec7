package load

import (
	"hash/maphash"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// answer is what of a CCA matters here.
type answer struct {
	code   diameter.ResultCode // of the command
	inner  diameter.ResultCode // of a Multiple-Services-Credit-Control, 0: it has none
	cost   ocs.Money           // Cost-Information
	priced bool                // it was there
	digest uint64              // of what is granted and charged, when asked for
}

// outcome is the code that says what became of the units: that of the command unless
// it is a success and the service inside was refused.
func (a *answer) outcome() diameter.ResultCode {
	if a.code == diameter.Success && a.inner != 0 && !a.inner.Success() {
		return a.inner
	}
	return a.code
}

// seed is one for all digests of the process.
var seed = maphash.MakeSeed()

// readAnswer looks an answer through where it lies. digest says that this answer will
// be compared with another to the same request.
func readAnswer(body []byte, digest bool) (a answer) {
	for avp := range diameter.Walk(body) {
		if avp.Vendor != 0 {
			continue
		}
		switch avp.Code {
		case diameter.ResultCodeAVP.Code:
			a.code = diameter.ResultCode(avp.Uint32())
		case diameter.CostInformation.Code:
			a.cost, a.priced = costOf(avp)
		case diameter.MultipleServicesCreditControl.Code:
			inner, _ := avp.Find(diameter.ResultCodeAVP)
			a.inner = diameter.ResultCode(inner.Uint32())
		case diameter.GrantedServiceUnit.Code, diameter.FinalUnitIndication.Code:
		default:
			continue
		}
		if digest {
			a.digest = a.digest*31 + maphash.Bytes(seed, avp.Raw)
		}
	}
	return a
}

// costOf reads Cost-Information (RFC 8506 §8.7).
func costOf(group diameter.AVP) (ocs.Money, bool) {
	value, _ := group.Find(diameter.UnitValue)
	digits, found := value.Find(diameter.ValueDigits)
	exponent, _ := value.Find(diameter.Exponent)
	cost, err := gy.Decimal{Digits: int64(digits.Uint64()), Exponent: int32(exponent.Uint32())}.Money()
	return cost, found && err == nil
}
