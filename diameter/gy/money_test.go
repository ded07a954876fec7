package gy

import (
	"errors"
	"math"
	"testing"

	"gygate/diameter"
	"gygate/ocs"
)

// B-210, B-211: exact decimals, no digit lost, nothing overflows.
func TestDecimalMoneyB210B211(t *testing.T) {
	proves(t, "B-210", "B-211")
	for _, c := range []struct {
		digits   int64
		exponent int32
		want     ocs.Money
		err      error
		text     string
	}{
		{5, -2, 50_000, nil, "0.05"},
		{23, -1, 2_300_000, nil, "2.3"},
		{230, -2, 2_300_000, nil, "2.30"},
		{7, 2, 700_000_000, nil, "700"},
		{5, 0, 5_000_000, nil, "5"},
		{-30, -2, -300_000, nil, "-0.30"},
		{1, -6, 1, nil, "0.000001"},
		{0, 0, 0, nil, "0"},
		{0, 18, 0, nil, "0000000000000000000"},
		{math.MaxInt64, -6, math.MaxInt64, nil, "9223372036854.775807"},
		{math.MinInt64, -6, math.MinInt64, nil, "-9223372036854.775808"},
		{9223372036854775000, -9, 9223372036854775, nil, "9223372036.854775000"},
		{1_000_000_000_000_000_000, -18, 1_000_000, nil, "1.000000000000000000"},
		{math.MaxInt64, -9, 0, errExponent, "9223372036.854775807"},
		{1, -7, 0, errExponent, "0.0000001"},
		{1, 100, 0, errExponent, ""},
		{1, -100, 0, errExponent, ""},
		{0, 100, 0, errExponent, ""},
		{1, math.MinInt32, 0, errExponent, ""},
		{math.MaxInt64, 0, 0, errRange, "9223372036854775807"},
		{math.MinInt64, 0, 0, errRange, "-9223372036854775808"},
		{10_000_000_000_000, 0, 0, errRange, "10000000000000"},
		{1, 18, 0, errRange, "1000000000000000000"},
	} {
		d := Decimal{Digits: c.digits, Exponent: c.exponent}
		if got, err := d.Money(); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%d × 10^%d = %d, %v; want %d, %v", c.digits, c.exponent, got, err, c.want, c.err)
		}
		if got := d.String(); got != c.text {
			t.Errorf("%d × 10^%d reads %q, want %q", c.digits, c.exponent, got, c.text)
		}
	}
}

// B-211: the wire holds what Money cannot, digit for digit.
func TestUnitValueRoundTripB211(t *testing.T) {
	proves(t, "B-211")
	for _, want := range []Amount{
		{Decimal{math.MaxInt64, -9}, 156},
		{Decimal{math.MinInt64, math.MaxInt32}, 0},
		{Decimal{-1, 0}, 48},
	} {
		raw := diameter.AppendGroup(nil, diameter.CostInformation, want.append)
		a, ok := diameter.Find(raw, diameter.CostInformation)
		if got := readAmount(a); !ok || got != want {
			t.Errorf("round trip of %+v gave %+v", want, got)
		}
	}
}

// B-212: the minor unit of the currency, finer only where digits would be lost.
func TestAmountOfB212(t *testing.T) {
	proves(t, "B-212")
	for _, c := range []struct {
		money    ocs.Money
		currency ocs.Currency
		want     Decimal
	}{
		{920_000, 156, Decimal{92, -2}},
		{-300_000, 156, Decimal{-30, -2}},
		{925_000, 978, Decimal{925, -3}},
		{1, 840, Decimal{1, -6}},
		{0, 978, Decimal{0, -2}},
		{500_000_000, 392, Decimal{500, 0}},
		{1_500_000, 392, Decimal{15, -1}},
		{1_250_000, 48, Decimal{1250, -3}},
		{1_234_500, 990, Decimal{12345, -4}},
	} {
		got := AmountOf(c.money, c.currency)
		if got.Value != c.want || got.Currency != uint32(c.currency) {
			t.Errorf("AmountOf(%s, %d) = %+v, want %+v", c.money, c.currency, got, c.want)
		}
		if code, _ := diameter.Find(got.append(nil), diameter.CurrencyCode); code.Uint32() != uint32(c.currency) {
			t.Errorf("currency %d is written as %d", c.currency, code.Uint32())
		}
		if back, err := got.Value.Money(); err != nil || back != c.money {
			t.Errorf("AmountOf(%s, %d) reads back as %s, %v", c.money, c.currency, back, err)
		}
	}
}
