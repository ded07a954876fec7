package main

import (
	"reflect"
	"testing"

	"gygate/ocs"
	"gygate/sql/sqltest"
)

func TestParseBalance(t *testing.T) {
	day, err := parseDay("", "2027-01-01")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]ocs.Balance{
		"amount=5.00": {Unit: ocs.Amount, Amount: 5_000_000},
		"unit=seconds,amount=3600,services=32260@3gpp.org 32276@3gpp.org,targets=100 101,priority=-1,until=2027-01-01": {
			Unit: ocs.Seconds, Amount: 3600, Services: []string{"32260@3gpp.org", "32276@3gpp.org"},
			Targets: []uint32{100, 101}, Priority: -1, ValidUntil: day,
		},
	} {
		if got, err := parseBalance(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "amount=x", "amount=-1,unit=seconds", "unit=hours,amount=1", "targets=a,amount=1", "colour=red", "amount=1,priority=high"} {
		if b, err := parseBalance(text); codeOf(err) != exitUsage {
			t.Errorf("%q: %+v, %v", text, b, err)
		}
	}
}

func TestAccountWithSeveralBalances(t *testing.T) {
	dsn := sqltest.Database(t)
	var a struct {
		Available string
		Balances  []struct{ Unit, Amount any }
	}
	code, errs := on(t, dsn, &a, "account", "create", "493023125001", "--balance", "10",
		"--add-balance", "amount=5.00,services=32260@3gpp.org", "--add-balance", "unit=seconds,amount=3600,targets=100")
	if code != exitOK || len(a.Balances) != 3 || a.Available != "15.00" {
		t.Fatalf("exit code %d: %s: %+v", code, errs, a)
	}
	var verdict any
	if code, errs := on(t, dsn, &verdict, "verify"); code != exitOK {
		t.Errorf("verify: exit code %d: %s", code, errs)
	}
}
