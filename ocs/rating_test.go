package ocs

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// compile makes a price of an entry.
func compile(t *testing.T, e TariffEntry) *price {
	t.Helper()
	e.ID, e.Service, e.Currency = "test", AnyService, 978
	if e.Unit == 0 {
		e.Unit = Seconds
	}
	tariff, err := NewTariff([]TariffEntry{e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tariff.pinned["test@0"]
}

// chargeOf rates a run of reports that end one after the other at end.
func chargeOf(t *testing.T, p *price, end time.Time, reports ...int64) Money {
	t.Helper()
	var m Meter
	var left int64
	for _, n := range reports {
		left += n
	}
	for _, n := range reports {
		start := end.Add(-time.Duration(left) * time.Second)
		if err := m.advance(n, span{price: p, start: start}); err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	return m.charge(p)
}

func TestCharge(t *testing.T) {
	perSecond := TariffEntry{Price: 10_000}
	sixSeconds := TariffEntry{Price: 60_000, Per: 60, First: 6, Following: 6}
	minute := TariffEntry{Price: 600_000, Per: 60, First: 60, Following: 60}
	fee := TariffEntry{Price: 10_000, Fee: 50_000}
	minimum := TariffEntry{Price: 10_000, Minimum: 200_000}
	thirtySix := TariffEntry{Price: 100_000, Per: 60, First: 30, Following: 6}
	for _, c := range []struct {
		name  string
		entry TariffEntry
		used  int64
		want  Money
	}{
		{"nothing", fee, 0, 0},
		{"per second", perSecond, 92, 920_000},
		{"six seconds, one begun", sixSeconds, 1, 6_000},
		{"six seconds, full", sixSeconds, 6, 6_000},
		{"six seconds, one over", sixSeconds, 7, 12_000},
		{"minute, one second", minute, 1, 600_000},
		{"minute, full", minute, 60, 600_000},
		{"minute, one over", minute, 61, 1_200_000},
		{"fee", fee, 1, 60_000},
		{"minimum holds", minimum, 19, 200_000},
		{"minimum passed", minimum, 21, 210_000},
		{"30 + 6, first", thirtySix, 30, 50_000},
		{"30 + 6, second", thirtySix, 31, 60_000},
		{"0.000004 a second, one", TariffEntry{Price: 4}, 1, 4},
		{"0.000004 a minute, one second rounds up", TariffEntry{Price: 4, Per: 60}, 1, 1},
		{"0.000004 a minute, a minute", TariffEntry{Price: 4, Per: 60}, 60, 4},
		{"a third is rounded once", TariffEntry{Price: 1, Per: 3}, 4, 2},
		{"octets", TariffEntry{Unit: Octets, Price: 10_000, Per: 1_000_000}, 100_000_000, 1_000_000},
		{"octets, one more", TariffEntry{Unit: Octets, Price: 10_000, Per: 1_000_000}, 100_000_001, 1_000_001},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := chargeOf(t, compile(t, c.entry), time.Time{}, c.used); got != c.want {
				t.Errorf("%d cost %v, want %v", c.used, got, c.want)
			}
		})
	}
}

// B-215: splitting use over reports does not change what it costs, nor does it
// ever make a later report cheaper than nothing.
func TestSplitsCostTheSame(t *testing.T) {
	t.Attr("proves", "B-215")
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC) // the night clocks change in Berlin
	for _, e := range []TariffEntry{
		{Price: 10_000}, {Price: 7, Per: 60}, {Price: 600_000, Per: 60, First: 60, Following: 60},
		{Price: 600_000, Per: 60, First: 30, Following: 6, Fee: 50_000, Minimum: 300_000}, {Price: 4},
		{Price: 31, Per: 7, First: 10, Following: 3, Zone: "Europe/Berlin", Bands: []Band{
			{From: 0, Until: 90 * time.Minute, Price: 5}, {From: 90 * time.Minute, Until: 4 * time.Hour, Price: 11}}},
	} {
		p := compile(t, e)
		for _, reports := range [][]int64{{60}, {7, 53}, {1, 59}, {53, 7}} {
			end := start.Add(60 * time.Second)
			if a, b := chargeOf(t, p, end, reports...), chargeOf(t, p, end, ones(60)...); a != b {
				t.Errorf("%+v: %v cost %v, 60 reports of one %v", e, reports, a, b)
			}
		}
		for range 200 {
			total := 1 + random.Int64N(30_000)
			end := start.Add(time.Duration(total) * time.Second)
			var reports []int64
			for left := total; left > 0; {
				n := 1 + random.Int64N(left)
				reports = append(reports, n)
				left -= n
			}
			if a, b := chargeOf(t, p, end, reports...), chargeOf(t, p, end, total); a != b {
				t.Fatalf("%+v: %d in %v cost %v, at once %v", e, total, reports, a, b)
			}
		}
	}
}

func ones(n int) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = 1
	}
	return list
}

func TestAffordable(t *testing.T) {
	for _, e := range []TariffEntry{
		{Price: 10_000}, {Price: 4}, {Price: 7, Per: 60}, {Price: 600_000, Per: 60, First: 60, Following: 60, Fee: 50_000},
		{Price: 10_000, Minimum: 90_000}, {Price: 0, Fee: 5},
	} {
		p := compile(t, e)
		for _, used := range []int64{0, 1, 59, 60, 61} {
			var m Meter
			if err := m.advance(used, span{price: p}); err != nil {
				t.Fatal(err)
			}
			for _, available := range []Money{0, 1, 9_999, 10_000, 50_000, 649_999, 650_000, 5_000_000} {
				n := m.affordable(1000, available, p, p.Price)
				if cost, err := m.cost(n, p, p.Price); err != nil || cost > available {
					t.Errorf("%+v after %d: %d units cost %v, only %v is there", e, used, n, cost, available)
				}
				if cost, _ := m.cost(n+1, p, p.Price); n < 1000 && cost <= available {
					t.Errorf("%+v after %d: %d units are affordable too: %v of %v", e, used, n+1, cost, available)
				}
			}
		}
	}
}

func TestOverflowIsRefused(t *testing.T) {
	p := compile(t, TariffEntry{Unit: Octets, Price: PriceMax, First: 1000, Following: 1000})
	for _, n := range []int64{math.MaxInt64, math.MaxInt64 / 2, 1 << 50, -1} {
		var m Meter
		if err := m.advance(n, span{price: p}); !errors.Is(err, errTooLarge) {
			t.Errorf("%d: %v", n, err)
		}
	}
	var m Meter
	if n := m.affordable(1<<40, 1_000_000, p, p.Price); n != 0 {
		t.Errorf("%d units affordable", n)
	}
}

// clockCost is the price of one unit at an instant.
func clockCost(p *price, at string) Money {
	instant, err := time.Parse(time.RFC3339, at)
	if err != nil {
		panic(err)
	}
	m, _ := p.priceAt(instant)
	return m
}

func TestClock(t *testing.T) {
	t.Attr("proves", "B-123")
	shanghai := compile(t, TariffEntry{Price: 1, Zone: "Asia/Shanghai", Bands: []Band{{From: 20 * time.Hour, Price: 2}}})
	berlin := compile(t, TariffEntry{Price: 1, Zone: "Europe/Berlin", Bands: []Band{
		{Dates: []string{"2026-12-25"}, Price: 9},
		{Days: []time.Weekday{time.Saturday, time.Sunday}, From: 150 * time.Minute, Until: 4 * time.Hour, Price: 3},
	}})
	for _, c := range []struct {
		price *price
		at    string
		want  Money
	}{
		{shanghai, "2026-11-23T11:59:59Z", 1},
		{shanghai, "2026-11-23T12:00:00Z", 2}, // B-124: the boundary second is the new tariff's
		{shanghai, "2026-11-23T15:59:59Z", 2},
		{shanghai, "2026-11-23T16:00:00Z", 1},
		{berlin, "2026-12-25T10:00:00Z", 9},
		{berlin, "2026-12-25T22:59:59Z", 9},
		{berlin, "2026-12-25T23:00:00Z", 1},
		{berlin, "2026-11-21T01:29:59Z", 1}, // Saturday 02:29:59
		{berlin, "2026-11-21T01:30:00Z", 3},
		{berlin, "2026-11-23T01:30:00Z", 1}, // Monday
		// B-123: on 29 March 2026 there is no 02:30; the band begins at 03:00.
		{berlin, "2026-03-29T00:59:59Z", 1},
		{berlin, "2026-03-29T01:00:00Z", 3},
		{berlin, "2026-03-29T02:00:00Z", 1},
		// On 25 October 02:30 comes twice: the band begins, is left when the
		// clock goes back to 02:00, and begins again.
		{berlin, "2026-10-25T00:29:59Z", 1},
		{berlin, "2026-10-25T00:30:00Z", 3},
		{berlin, "2026-10-25T01:00:00Z", 1},
		{berlin, "2026-10-25T01:30:00Z", 3},
		{berlin, "2026-10-25T03:00:00Z", 1},
	} {
		if got := clockCost(c.price, c.at); got != c.want {
			t.Errorf("%s: %d, want %d", c.at, got, c.want)
		}
	}
}

// The closed form of whole days must equal second by second, on the days of 23,
// 24 and 25 hours.
func TestDaysByTheClock(t *testing.T) {
	t.Attr("proves", "B-123")
	p := compile(t, TariffEntry{Price: 1, Zone: "Europe/Berlin", Bands: []Band{
		{From: 150 * time.Minute, Until: 4 * time.Hour, Price: 3}, {From: 20 * time.Hour, Price: 2}}})
	for _, day := range []string{"2026-03-29", "2026-03-30", "2026-10-25"} {
		begin, err := time.ParseInLocation(time.DateOnly, day, p.clock.zone)
		if err != nil {
			t.Fatal(err)
		}
		end := begin.AddDate(0, 0, 1)
		n := int64(end.Sub(begin) / time.Second)
		var want Money
		for s := range n {
			local := begin.Add(time.Duration(s) * time.Second).In(p.clock.zone)
			switch minutes := local.Hour()*60 + local.Minute(); {
			case minutes >= 150 && minutes < 240:
				want += 3
			case local.Hour() >= 20:
				want += 2
			default:
				want++
			}
		}
		if got := chargeOf(t, p, end, n); got != want {
			t.Errorf("%s, %d h: %d, want %d", day, n/3600, got, want)
		}
	}
}

// An increment is priced at its first unit, even when it reaches over a change.
func TestIncrementAcrossASwitch(t *testing.T) {
	p := compile(t, TariffEntry{Price: 60, Per: 60, First: 60, Following: 60, Zone: "UTC", Bands: []Band{{From: 20 * time.Hour, Price: 120}}})
	end := time.Date(2026, 11, 23, 20, 0, 30, 0, time.UTC)
	if got := chargeOf(t, p, end, 60); got != 60 {
		t.Errorf("one minute begun at 19:59:30 cost %d, want 60", got)
	}
	if got := chargeOf(t, p, end.Add(time.Minute), 120); got != 180 {
		t.Errorf("the minute after it: %d in all, want 180", got)
	}
}

func TestFind(t *testing.T) {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	entry := func(id string, version int, service, prefix string, from time.Time) TariffEntry {
		return TariffEntry{ID: id, Version: version, Service: service, RatingGroup: 102, Prefix: prefix, Unit: Seconds, Currency: 978, Price: 1, ValidFrom: from}
	}
	tariff, err := NewTariff([]TariffEntry{
		entry("world", 1, AnyService, "", time.Time{}),
		entry("uk", 1, AnyService, "44", time.Time{}),
		entry("uk", 2, AnyService, "44", day),
		entry("uk-mobile", 1, AnyService, "447", day.AddDate(0, 1, 0)),
		entry("own", 1, "voice", "49", time.Time{}),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service, called string
		at              time.Time
		want            string
	}{
		{"voice", "861380", day, "world@1"},
		{"voice", "441234", day.Add(-time.Second), "uk@1"},
		{"voice", "441234", day, "uk@2"},
		{"voice", "447700", day, "uk@2"},
		{"voice", "447700", day.AddDate(0, 2, 0), "uk-mobile@1"},
		{"voice", "491234", day, "own@1"},
		{"other", "491234", day, "world@1"},
		{"voice", "", day, "world@1"},
	} {
		if p := tariff.find(c.service, 102, c.called, 978, c.at); p == nil || p.rate != c.want {
			t.Errorf("%s to %q at %v: %+v, want %s", c.service, c.called, c.at, p, c.want)
		}
	}
	if p := tariff.find("voice", 102, "", 156, day); p != nil {
		t.Errorf("found %s in another currency", p.rate)
	}
	if p := tariff.find("voice", 7, "", 978, day); p != nil {
		t.Errorf("found %s for another rating group", p.rate)
	}
}

func TestNewTariffNamesAllFaults(t *testing.T) {
	_, err := NewTariff([]TariffEntry{
		{ID: "a", Service: "*", Unit: Seconds, Currency: 978, Price: -1},
		{ID: "b", Service: "*", Unit: Amount, Currency: 978, Prefix: "+44"},
		{ID: "c", Service: "*", Unit: Seconds, Currency: 978, Zone: "Nowhere/There", Bands: []Band{{From: 5 * time.Hour, Until: time.Hour}}},
		{ID: "d", Service: "*", Unit: Seconds, Currency: 978},
		{ID: "d", Service: "*", Unit: Seconds, Currency: 978},
	}, []ServiceContext{{}, {Name: "x", Validity: time.Second}})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 6 {
		t.Errorf("want six faults, got: %v", err)
	}
}

func TestNormalizeIdentity(t *testing.T) {
	for _, c := range []struct {
		kind IdentityKind
		raw  string
		want Identity
		ok   bool
	}{
		{E164, "8613800000001", Identity{E164, "8613800000001"}, true}, // B-056
		{E164, "+8613800000001", Identity{E164, "8613800000001"}, true},
		{E164, "tel:+8613800000001", Identity{E164, "8613800000001"}, true},
		{E164, "TEL:+8613800000001;phone-context=x", Identity{E164, "8613800000001"}, true},
		{E164, "13800000001", Identity{E164, "13800000001"}, true}, // no national guessing
		{E164, "6002a", Identity{}, false},
		{E164, "1234567890123456", Identity{}, false},
		{E164, "", Identity{}, false},
		{IMSI, "460001234567890", Identity{IMSI, "460001234567890"}, true},
		{IMSI, "46000123456789x", Identity{}, false},
		{SIPURI, "sip:+8613800000001@Ims.Example;user=phone", Identity{E164, "8613800000001"}, true}, // B-057
		{SIPURI, "SIP:Alice@Ims.Example:5060;transport=tcp?x=y", Identity{SIPURI, "sip:Alice@ims.example"}, true},
		{SIPURI, "sips:alice@[2001:DB8::1]:5061", Identity{SIPURI, "sip:alice@[2001:db8::1]"}, true},
		{SIPURI, "tel:+8613800000001", Identity{E164, "8613800000001"}, true},
		{SIPURI, "alice", Identity{}, false},
		{SIPURI, "sip:ims.example", Identity{}, false},
		{NAI, "Alice@Realm.Example", Identity{NAI, "Alice@realm.example"}, true},
		{Private, "  token ", Identity{Private, "token"}, true},
		{IdentityKind(77), "x", Identity{}, false},
	} {
		got, ok := NormalizeIdentity(c.kind, c.raw)
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%d %q: %+v, %v; want %+v, %v", c.kind, c.raw, got, ok, c.want, c.ok)
		}
	}
}

func TestServedWindow(t *testing.T) {
	var w ServedWindow
	if w.has(0) {
		t.Error("an empty window has 0")
	}
	for _, n := range []uint32{7, 8, 20, 10, 100} {
		w.add(n)
	}
	for n, want := range map[uint32]bool{7: true, 36: true, 37: false, 99: false, 100: true, 101: false, math.MaxUint32: false} {
		if w.has(n) != want {
			t.Errorf("%d: %v", n, !want)
		}
	}
	w.add(math.MaxUint32)
	if !w.has(math.MaxUint32) || !w.has(100) || w.has(math.MaxUint32-1) {
		t.Errorf("%+v", w)
	}
}
