package gy

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"gygate/diameter"
	"gygate/ocs"
)

// Decimal is Unit-Value (RFC 8506 §8.8): Digits × 10^Exponent, exact.
type Decimal struct {
	Digits   int64 // Value-Digits
	Exponent int32 // Exponent, 0 when absent
}

// Amount is CC-Money, Cost-Information or Remaining-Balance: a value in a
// currency. Currency 0 means that none was named: the account's.
type Amount struct {
	Value    Decimal
	Currency uint32 // ISO 4217 numeric
}

// exponentMax bounds Exponent both ways: 10^18 is the largest power of ten in
// 64 bits, so nothing beyond it can be an amount of money here.
const exponentMax = 18

// moneyExponent is the exponent of ocs.Money's unit.
const moneyExponent = -6

// Why a Decimal is not an ocs.Money; each is a 5004 with another Failed-AVP.
var (
	errExponent = errors.New("exponent out of range, or finer than a millionth")
	errRange    = errors.New("amount out of range")
)

// Money converts d without losing a digit. What ocs.Money cannot hold exactly
// is an error, never a rounded amount.
func (d Decimal) Money() (ocs.Money, error) {
	if d.Exponent > exponentMax || d.Exponent < -exponentMax {
		return 0, errExponent
	}
	v, shift := d.Digits, int(d.Exponent)-moneyExponent
	for ; shift < 0 && v != 0; shift++ {
		if v%10 != 0 {
			return 0, errExponent
		}
		v /= 10
	}
	for ; shift > 0 && v != 0; shift-- {
		if v > math.MaxInt64/10 || v < math.MinInt64/10 {
			return 0, errRange
		}
		v *= 10
	}
	return ocs.Money(v), nil
}

// String writes the decimal exactly as it is: "0.92", "700", "-0.3".
func (d Decimal) String() string {
	if d.Exponent > exponentMax || d.Exponent < -exponentMax {
		return ""
	}
	sign, digits := "", strconv.FormatInt(d.Digits, 10)
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if d.Exponent >= 0 {
		return sign + digits + strings.Repeat("0", int(d.Exponent))
	}
	point := int(-d.Exponent)
	if pad := point + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	return sign + digits[:len(digits)-point] + "." + digits[len(digits)-point:]
}

// AmountOf writes m in the minor unit of its currency, and finer only when that
// would lose digits: 0.92 CNY is (92, -2), 0.925 CNY is (925, -3).
func AmountOf(m ocs.Money, c ocs.Currency) Amount {
	digits, exponent := int64(m), int32(moneyExponent)
	for exponent < minorExponent(c) && digits%10 == 0 {
		digits, exponent = digits/10, exponent+1
	}
	return Amount{Value: Decimal{Digits: digits, Exponent: exponent}, Currency: uint32(c)}
}

// minorExponent is the exponent of a currency's minor unit. ISO 4217 has two
// decimals for all currencies but these.
func minorExponent(c ocs.Currency) int32 {
	switch c {
	case 108, 152, 174, 262, 324, 352, 392, 410, 548, 600, 646, 704, 800, 940, 950, 952, 953:
		return 0 // BIF CLP KMF DJF GNF ISK JPY KRW VUV PYG RWF VND UGX UYI XAF XOF XPF
	case 48, 368, 400, 414, 434, 512, 788:
		return -3 // BHD IQD JOD KWD LYD OMR TND
	case 927, 990:
		return -4 // UYW CLF
	default:
		return -2
	}
}

// append writes the members of CC-Money, Cost-Information and
// Remaining-Balance. An Exponent of 0 is left out, as its absence says 0.
func (a Amount) append(b []byte) []byte {
	b = diameter.AppendGroup(b, diameter.UnitValue, func(b []byte) []byte {
		b = diameter.AppendUint64(b, diameter.ValueDigits, uint64(a.Value.Digits))
		if a.Value.Exponent != 0 {
			b = diameter.AppendUint32(b, diameter.Exponent, uint32(a.Value.Exponent))
		}
		return b
	})
	if a.Currency != 0 {
		b = diameter.AppendUint32(b, diameter.CurrencyCode, a.Currency)
	}
	return b
}

// readAmount reads the members of a money group as they are.
func readAmount(group diameter.AVP) (a Amount) {
	for m := range group.Group() {
		switch {
		case m.Is(diameter.CurrencyCode):
			a.Currency = m.Uint32()
		case m.Is(diameter.UnitValue):
			digits, _ := m.Find(diameter.ValueDigits)
			exponent, _ := m.Find(diameter.Exponent)
			a.Value = Decimal{Digits: int64(digits.Uint64()), Exponent: int32(exponent.Uint32())}
		}
	}
	return a
}

// parseAmount reads a CC-Money that moves money: it must be an ocs.Money, not
// negative (conformance B-211, B-217).
func parseAmount(group diameter.AVP) (Amount, *diameter.Error) {
	a := readAmount(group)
	value, _ := group.Find(diameter.UnitValue)
	_, err := a.Value.Money()
	switch {
	case errors.Is(err, errExponent):
		exponent, _ := value.Find(diameter.Exponent)
		return a, invalid(exponent.Raw, "CC-Money exponent")
	case err != nil:
		return a, invalid(value.Raw, "CC-Money out of range")
	case a.Value.Digits < 0:
		return a, invalid(value.Raw, "negative CC-Money")
	}
	return a, nil
}
