package pgstore

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/ocs"
)

const tariffFile = `id,rating_group,unit,currency,price,version,service,prefix,fee,first,following,per,zone,valid_from,bands
on-net,100,seconds,978,0.60,,,,,1,1,60,,2026-01-01,
off-net,101,seconds,978,1.20,2,32260@3gpp.org,49,0.05,60,1,60,Europe/Berlin,2026-01-01T00:00:00Z,"2026-12-25 00:00-24:00 0.30; sat,sun 08:00-20:30 0.60; 22:00-24:00 0.90"
`

func TestImportTariff(t *testing.T) {
	l := newLedger(t)
	before, err := l.admin.TariffVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same again is no change of a price
		if err := l.admin.ImportTariff(t.Context(), strings.NewReader(tariffFile)); err != nil {
			t.Fatal(err)
		}
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []ocs.TariffEntry{
		{ID: "on-net", Version: 1, Service: "*", RatingGroup: 100, Unit: ocs.Seconds, Currency: 978, First: 1, Following: 1, Price: 600_000, Per: 60, ValidFrom: from},
		{ID: "off-net", Version: 2, Service: "32260@3gpp.org", RatingGroup: 101, Prefix: "49", Unit: ocs.Seconds, Currency: 978,
			Fee: 50_000, First: 60, Following: 1, Price: 1_200_000, Per: 60, Zone: "Europe/Berlin", ValidFrom: from,
			Bands: []ocs.Band{
				{Dates: []string{"2026-12-25"}, Until: 24 * time.Hour, Price: 300_000},
				{Days: []time.Weekday{time.Saturday, time.Sunday}, From: 8 * time.Hour, Until: 20*time.Hour + 30*time.Minute, Price: 600_000},
				{From: 22 * time.Hour, Until: 24 * time.Hour, Price: 900_000},
			}},
	}
	got, err := l.admin.ListTariff(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if after, err := l.admin.TariffVersion(t.Context()); err != nil || after <= before {
		t.Errorf("version %d, before %d (%v)", after, before, err)
	}
	changed := strings.Replace(tariffFile, "0.60,,", "0.61,,", 1)
	if err := l.admin.ImportTariff(t.Context(), strings.NewReader(changed)); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "new version") {
		t.Errorf("another price under the same version: %v", err)
	}
}

func TestImportTariffNamesEveryFault(t *testing.T) {
	l := newLedger(t)
	err := l.admin.ImportTariff(t.Context(), strings.NewReader("id,rating_group,unit,currency,price,bands\n"+
		"a,x,seconds,978,1,\nb,1,parsecs,978,1,\nc,1,seconds,,1,\nd,1,seconds,978,cheap,\ne,1,seconds,978,1,noon 1\nf,1,seconds,978,1,mon 1:00 1\ng,1,seconds\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	if strings.Contains(err.Error(), "strconv") {
		t.Errorf("the error speaks of the program: %v", err)
	}
	for _, want := range []string{`line 2: rating_group: "x" is no whole number`, "line 3: unit", "line 4: currency", "line 5: price", "line 6: bands", "line 7: bands", "line 8: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s:\n%v", want, err)
		}
	}
	err = l.admin.ImportTariff(t.Context(), strings.NewReader("id,rating_group,unit,currency,price,valid_from\na,1,seconds,978,1,soon\n"))
	if err == nil || !strings.Contains(err.Error(), `valid_from: "soon" is neither a day`) {
		t.Errorf("a day that is none: %v", err)
	}
	// What one line cannot tell is found by the whole tariff, and nothing is stored.
	err = l.admin.ImportTariff(t.Context(), strings.NewReader("id,rating_group,unit,currency,price,zone,bands\na,1,seconds,978,1,Mars/Olympus,00:00-12:00 2\n"))
	if err == nil || !strings.Contains(err.Error(), "Olympus") {
		t.Errorf("unknown zone: %v", err)
	}
	if n := l.count(t, "tariff_entry"); n != 0 {
		t.Errorf("%d prices stored", n)
	}
}

func TestServiceContexts(t *testing.T) {
	l := newLedger(t)
	tariff, err := l.admin.Tariff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := tariff.Context("32251@3gpp.org"); c == nil || !c.ItemRefusals || c.Unit != ocs.Octets {
		t.Errorf("the data service of a new database: %+v", c)
	}
	want := ocs.ServiceContext{Name: "game@example.org", DefaultRatingGroup: 7, Unit: ocs.Events, Validity: 2 * time.Minute, Supervision: 5 * time.Minute}
	for range 2 {
		if err := l.admin.PutServiceContext(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	if tariff, err = l.admin.Tariff(t.Context()); err != nil || !reflect.DeepEqual(tariff.Context(want.Name), &want) {
		t.Errorf("%+v, %v", tariff.Context(want.Name), err)
	}
	// Every option comes back, and replaces what was there.
	debit, triggers := uint32(1), []uint32{1, 2, 4}
	want.ServiceOptions = ocs.ServiceOptions{
		FinalAction: ocs.FinalRedirect, Redirect: &ocs.Redirect{Type: 2, Address: "http://top-up.example/"}, ZeroGrant: true,
		Announce: 7, Bar: ocs.BarAsk, HoldSeconds: 60, ConsumptionSeconds: 30, Triggers: &triggers, Pool: true,
		FailureHandling: map[string]uint32{"": 1, "gold": 2}, DebitFailure: &debit,
	}
	for _, want := range []ocs.ServiceContext{want, {Name: want.Name, Unit: ocs.Events}} {
		if err := l.admin.PutServiceContext(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		contexts, err := l.admin.ServiceContexts(t.Context())
		if i := slices.IndexFunc(contexts, func(c ocs.ServiceContext) bool { return c.Name == want.Name }); err != nil || i < 0 || !reflect.DeepEqual(contexts[i], want) {
			t.Errorf("got %+v, %v\nwant %+v", contexts, err, want)
		}
	}
	want.Validity = time.Second
	if err := l.admin.PutServiceContext(t.Context(), want); err == nil || strings.Count(err.Error(), "service context "+want.Name) != 1 {
		t.Errorf("a validity of one second: %v", err)
	}
}
