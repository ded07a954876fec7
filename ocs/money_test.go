package ocs

import (
	"encoding/json"
	"math"
	"testing"
)

func TestMoneyText(t *testing.T) {
	for text, want := range map[string]Money{
		"10": 10_000_000, "-0.05": -50_000, "2.300001": 2_300_001, "0": 0, "700.00": 700_000_000,
		"9223372036854.775807": math.MaxInt64,
	} {
		got, err := ParseMoney(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
		if back, err := ParseMoney(got.String()); err != nil || back != got {
			t.Errorf("%s came back as %s: %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".5", "5.", "1.0000001", "1e3", "+1", "--1", "9223372036854.775808", "0x10"} {
		if m, err := ParseMoney(text); err == nil {
			t.Errorf("%q is %d", text, m)
		}
	}
	for m, want := range map[Money]string{4: "0.000004", -10_000: "-0.01", math.MinInt64: "-9223372036854.775808"} {
		if m.String() != want {
			t.Errorf("%d: %s, want %s", int64(m), m, want)
		}
	}
}

func TestMoneyInJSON(t *testing.T) {
	b, err := json.Marshal(struct{ Cost Money }{920_000})
	if err != nil || string(b) != `{"Cost":"0.92"}` {
		t.Errorf("%s, %v", b, err)
	}
	var back struct{ Cost Money }
	if err := json.Unmarshal(b, &back); err != nil || back.Cost != 920_000 {
		t.Errorf("%v, %v", back, err)
	}
	if json.Unmarshal([]byte(`{"Cost":"x"}`), &back) == nil {
		t.Error("x is an amount")
	}
}
