package ocs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Money is an amount in millionths (10⁻⁶) of its currency's unit. There is no
// floating point anywhere near it.
type Money int64

// MoneyScale is how many Money make one unit of the currency.
const MoneyScale Money = 1_000_000

// moneyDigits is the number of decimals of Money.
const moneyDigits = 6

// Currency is an ISO 4217 numeric code, as Currency-Code (RFC 8506 §8.11)
// carries it: 978 is EUR, 156 is CNY.
type Currency uint16

var errMoney = errors.New("not an amount with at most six decimals")

// ParseMoney reads a decimal amount such as "10", "-0.05" or "2.300001". It
// refuses what Money cannot hold exactly.
func ParseMoney(s string) (Money, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || (point && fraction == "") || len(fraction) > moneyDigits {
		return 0, fmt.Errorf("%q: %w", s, errMoney)
	}
	for _, c := range whole + fraction {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q: %w", s, errMoney)
		}
	}
	v, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", moneyDigits-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: amount outside ±%s", s, Money(math.MaxInt64))
	}
	if negative {
		v = -v
	}
	return Money(v), nil
}

// String writes m as a decimal with two to six decimals: "10.00", "0.000004".
func (m Money) String() string {
	sign, u := "", uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	whole, fraction := u/uint64(MoneyScale), u%uint64(MoneyScale)
	f := fmt.Sprintf("%0*d", moneyDigits, fraction)
	f = f[:2] + strings.TrimRight(f[2:], "0")
	return sign + strconv.FormatUint(whole, 10) + "." + f
}

// MarshalText writes m as its decimal, so that JSON never turns it into a float.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (m *Money) UnmarshalText(b []byte) error {
	v, err := ParseMoney(string(b))
	if err == nil {
		*m = v
	}
	return err
}
