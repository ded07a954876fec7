package ocstest

import (
	"slices"
	"testing"
	"time"

	"gygate/ocs"
)

// What the conversations are about, beside Tariff's rating groups.
const (
	Pooled       = "32270@3gpp.org" // one credit pool; redirects who has no credit
	Evening      = 110              // seconds, dearer every other hour
	VolumeSwitch = 11               // octets, dearer every other hour
	hosts        = 4                // clients
)

func converseTariff(t testing.TB) *ocs.Tariff {
	t.Helper()
	base := Tariff(t)
	var bands []ocs.Band
	for hour := time.Hour; hour < 24*time.Hour; hour += 2 * time.Hour {
		bands = append(bands, ocs.Band{From: hour, Until: hour + time.Hour, Price: 20_000})
	}
	entries := append(base.Entries(),
		ocs.TariffEntry{ID: "evening", Service: ocs.AnyService, RatingGroup: Evening, Unit: ocs.Seconds, Currency: Currency, Price: 10_000, Bands: bands, Zone: "Europe/Berlin"},
		ocs.TariffEntry{ID: "switch", Service: ocs.AnyService, RatingGroup: VolumeSwitch, Unit: ocs.Octets, Currency: Currency, Price: 10_000, Per: 1_000_000, Bands: bands},
		ocs.TariffEntry{ID: "abroad", Service: ocs.AnyService, RatingGroup: OnNet, Prefix: "44", Unit: ocs.Seconds, Currency: Currency, Price: 30_000},
	)
	pooled := ocs.ServiceContext{Name: Pooled, DefaultRatingGroup: Volume, ItemRefusals: true}
	pooled.Pool, pooled.ZeroGrant, pooled.FinalAction = true, true, ocs.FinalRedirect
	pooled.Redirect = &ocs.Redirect{Type: 3, Address: "sip:topup@example"}
	tariff, err := ocs.NewTariff(entries, append(base.Contexts(), pooled))
	if err != nil {
		t.Fatal(err)
	}
	return tariff
}

// addAccounts makes accounts of every kind: plenty, little, bundles, pots bound to
// services and targets, pots and an account that come to an end, a threshold.
func (c *conversation) addAccounts() {
	money := func(n int64) *ocs.Balance { return &ocs.Balance{Unit: ocs.Amount, Amount: n} }
	bound := money(4_000_000)
	bound.Services = []string{Voice}
	aimed := money(3_000_000)
	aimed.Targets = []uint32{Volume, VolumeSwitch}
	soon := money(9_000_000)
	soon.ValidUntil, soon.Priority = c.now.Add(5*time.Hour), -1
	minutes := &ocs.Balance{Unit: ocs.Seconds, Amount: 900, Targets: []uint32{OnNet, Evening}}
	octets := &ocs.Balance{Unit: ocs.Octets, Amount: 700_000_000, ValidUntil: c.now.Add(9 * time.Hour)}
	events := &ocs.Balance{Unit: ocs.Events, Amount: 12}
	account := func(balances ...*ocs.Balance) ocs.Account {
		return ocs.Account{Currency: Currency, Balances: balances}
	}
	ending, guarded := account(money(50_000_000), minutes), account(money(6_000_000), octets)
	ending.ValidUntil = c.now.Add(12 * time.Hour)
	guarded.Threshold = 1_000_000
	for _, a := range []ocs.Account{
		account(money(1_000_000_000), money(5_000_000)), account(money(2_000_000)), account(minutes, money(20_000_000)),
		account(bound, aimed, money(10_000_000)), account(octets, events, money(8_000_000)), account(soon, money(30_000_000)),
		ending, guarded,
	} {
		p := payer{id: NewPayer()}
		p.account = c.seeder.AddAccount(c.t, a, p.id)
		c.payers = append(c.payers, p)
	}
}

// talk is one session as its client sees it.
type talk struct {
	id      string
	sub     uint64
	payer   *payer
	host    *ocs.Client
	client  ocs.Client // as the session began
	habits  ocs.Habits
	service string
	groups  []uint32
	money   bool // the client computes the cost itself
	command bool // units at the command level: one group
	called  string
	next    uint32
	skipped []uint32 // numbers to come after their successors
	granted map[uint32]ocs.Units
	starved map[uint32]bool
	cost    ocs.Money
}

// begin opens a session.
func (c *conversation) begin() {
	c.opened++
	host := c.IntN(len(c.hosts))
	k := &talk{
		id: c.newID("talk"), payer: c.anyPayer(), host: &c.hosts[host], client: c.hosts[host],
		habits: ocs.Habits{NoLateTerminate: host == 1, NoFree: host == 2, Interim: host == 3},
		next:   uint32(c.IntN(3)), called: "8613800000002",
		granted: make(map[uint32]ocs.Units), starved: make(map[uint32]bool),
	}
	k.choose(c)
	if len(c.talks) == talksMax {
		c.forget(c.any())
	}
	c.talks = append(c.talks, k)
	step := k.step(c, ocs.Initial)
	step.Payer = []ocs.Identity{k.payer.id}
	for _, g := range k.groups {
		item := k.item(g, nil, k.wish(c, g))
		if k.habits.Interim && c.IntN(2) == 0 && !k.money {
			item.Used = Used(unitOf(g), c.Int64N(k.scale(g)))
		}
		step.Items = append(step.Items, item)
	}
	c.serve(k, step)
}

// choose picks what the session is about.
func (k *talk) choose(c *conversation) {
	switch c.IntN(10) {
	case 0, 1, 2:
		k.service, k.groups = Voice, []uint32{OnNet, OffNet}
	case 3:
		k.service, k.groups = Voice, []uint32{FreeCall, OnNet}
	case 4:
		k.service, k.groups = Voice, []uint32{Evening}
	case 5:
		k.service, k.groups, k.money = Voice, []uint32{7}, true
	case 6, 7:
		k.service, k.groups = Data, []uint32{Volume, VolumeSwitch, Unpriced}
	default:
		k.service, k.groups = Pooled, []uint32{Volume, OnNet}
	}
	c.Shuffle(len(k.groups), func(i, j int) { k.groups[i], k.groups[j] = k.groups[j], k.groups[i] })
	if c.IntN(3) == 0 {
		k.command, k.groups = true, k.groups[:1]
	}
	if c.IntN(12) == 0 {
		k.sub = 2
	}
}

func unitOf(group uint32) ocs.UnitKind {
	if group == Volume || group == VolumeSwitch {
		return ocs.Octets
	}
	return ocs.Seconds
}

// scale is more than a slice, so that there is overrun.
func (k *talk) scale(group uint32) int64 {
	if unitOf(group) == ocs.Octets {
		return 130_000_000
	}
	return 80
}

// step begins a step with the next number, now and then one that leaves its
// predecessor for later.
func (k *talk) step(c *conversation, kind ocs.StepType) *ocs.Step {
	number := k.next
	k.next++
	if kind == ocs.Update && c.IntN(8) == 0 {
		k.skipped = append(k.skipped, number)
		number = k.next
		k.next++
	} else if kind == ocs.Update && len(k.skipped) > 0 && c.IntN(3) == 0 {
		number, k.skipped = k.skipped[0], k.skipped[1:]
	}
	return &ocs.Step{SessionID: k.id, SubSession: k.sub, Type: kind, Number: number, Service: k.service, Called: k.called,
		At: c.now, Client: k.client, Habits: k.habits, CommandLevel: k.command}
}

func (k *talk) item(group uint32, used []ocs.Usage, wish *ocs.Units) ocs.Item {
	i := For(group, used, wish)
	if k.command {
		i.Target = ""
	}
	return i
}

func (k *talk) wish(c *conversation, group uint32) *ocs.Units {
	switch {
	case k.money:
		return Wish(ocs.Amount, c.Int64N(2_000_000))
	case c.IntN(2) == 0:
		return Wish(ocs.Unspecified, 0)
	}
	return Wish(unitOf(group), c.Int64N(k.scale(group)))
}

// used is what the client used of its grant: mostly less, sometimes more.
func (k *talk) used(c *conversation, group uint32) []ocs.Usage {
	granted, ok := k.granted[group]
	switch {
	case !ok && c.IntN(10) > 0:
		return nil
	case !ok:
		granted = ocs.Units{Kind: unitOf(group), Quantity: k.scale(group)}
		if k.money {
			granted.Kind = ocs.Amount
		}
	}
	n := c.Int64N(granted.Quantity + 1)
	switch c.IntN(6) {
	case 0:
		n = granted.Quantity
	case 1:
		n += granted.Quantity / 3
	}
	used := Used(granted.Kind, n)
	if group == VolumeSwitch && c.IntN(2) == 0 {
		before := c.Int64N(n + 1)
		used[0].Units.Quantity, used[0].Tariff = before, ocs.TariffBefore
		after := ocs.Usage{Units: ocs.Units{Kind: granted.Kind, Quantity: n - before}, Tariff: ocs.TariffChange(2 + c.IntN(2))}
		used = append(used, after)
	}
	return used
}

// report is a CCR-U or CCR-T: of some groups, or all.
func (c *conversation) report(k *talk, kind ocs.StepType) {
	step := k.step(c, kind)
	for _, g := range k.groups {
		if c.IntN(4) > 0 || k.command {
			step.Items = append(step.Items, k.part(c, g, kind))
		}
	}
	c.serve(k, step)
	if kind == ocs.Terminate && c.IntN(10) > 0 {
		c.forget(k)
	}
}

// part is the report of one group and what is wanted next: an end, nothing, or more.
func (k *talk) part(c *conversation, group uint32, kind ocs.StepType) ocs.Item {
	item := k.item(group, k.used(c, group), nil)
	switch n := c.IntN(12); {
	case kind == ocs.Terminate || k.starved[group]:
	case n == 0:
		item.Final = true
	case n > 1:
		item.Requested = k.wish(c, group)
	}
	if kind == ocs.Update && group == OnNet && c.IntN(15) == 0 { // forwarded
		k.called, item.Rerated = "441632960001", true
	}
	return item
}

// both sends two reports of different groups at once.
func (c *conversation) both(k *talk) {
	if len(k.groups) < 2 || k.command {
		return
	}
	one, two := k.step(c, ocs.Update), k.step(c, ocs.Update)
	one.Items = []ocs.Item{k.part(c, k.groups[0], ocs.Update)}
	two.Items = []ocs.Item{k.part(c, k.groups[1], ocs.Update)}
	for i, o := range c.All(one, two) {
		s := []*ocs.Step{one, two}[i]
		if !o.Replayed {
			c.remember(exchange{*s, o})
		}
		k.heed(c, s, o)
	}
	c.audit(k.payer.account.Key)
	c.tally["at once"]++
}

// heed is what the client makes of an answer. What was charged is what the session
// costs more than before.
func (k *talk) heed(c *conversation, step *ocs.Step, o ocs.Outcome) {
	c.tally[string(o.Refusal)]++
	if o.Replayed || unstored(o.Refusal) {
		if o.Refusal == ocs.UnknownSession {
			c.forget(k)
		}
		return
	}
	moved := ocs.Money(0)
	for _, i := range o.Items {
		moved += i.Debited + i.Overrun
		k.note(c, i)
	}
	if o.Cost-k.cost != moved {
		c.t.Errorf("seed %d: %s, number %d: the cost went from %v to %v, the items say %v", c.config.Seed, k.id, step.Number, k.cost, o.Cost, moved)
	}
	k.cost = o.Cost
	if o.Refusal != "" && c.IntN(2) == 0 {
		c.forget(k) // the others go on, and send a CCR-T one day
	}
}

func (k *talk) note(c *conversation, i ocs.ItemOutcome) {
	delete(k.granted, i.RatingGroup)
	k.starved[i.RatingGroup] = i.Final && c.IntN(2) == 0
	switch {
	case i.Granted == nil && i.Final:
		c.tally["redirected"]++
	case i.Granted != nil && i.Granted.Quantity == 0:
		c.tally["zero grant"]++
	case i.Granted != nil:
		k.granted[i.RatingGroup] = *i.Granted
	case i.Refusal == "" && i.ValidFor > 0:
		c.tally["after final"]++
		k.starved[i.RatingGroup] = c.IntN(3) > 0
	}
	for name, happened := range map[string]bool{
		"final": i.Final, "overrun": i.Overrun > 0, "pool": i.Pool != nil, "capped": i.Capped > 0, "switch": !i.SwitchAt.IsZero(),
	} {
		if happened {
			c.tally[name]++
		}
	}
	c.tally[string(i.Refusal)+" in an item"]++
}

// forget is the end of a talk on the client's side.
func (c *conversation) forget(k *talk) {
	c.talks = slices.DeleteFunc(c.talks, func(other *talk) bool { return other == k })
}

// checkTalkPrices compares what targets were charged with the price of their use:
// exactly where there is one price, within its bounds where the clock decides.
func checkTalkPrices(t testing.TB, b Books) {
	t.Helper()
	for _, s := range b.Sessions {
		for _, target := range s.Targets {
			low, high := priceBounds(target)
			if got := target.Charged - target.Earlier; got < low || got > high {
				t.Errorf("session %s, target %q of group %d: %d used cost %v, want %v to %v", s.ID, target.Target, target.RatingGroup, target.Meter.Rated, got, low, high)
			}
			if target.Meter.Rated > target.Used {
				t.Errorf("session %s, target %q: %d rated of %d used", s.ID, target.Target, target.Meter.Rated, target.Used)
			}
		}
	}
}

func priceBounds(target *ocs.TargetState) (low, high ocs.Money) {
	used := target.Meter.Rated
	switch {
	case target.Unit == ocs.Amount:
		return ocs.Money(target.Used), ocs.Money(target.Used)
	case target.RatingGroup == FreeCall:
		return 0, 0
	case target.Rate == "abroad@0":
		return ocs.Money(used * 30_000), ocs.Money(used * 30_000)
	case target.RatingGroup == Evening:
		return ocs.Money(used * 10_000), ocs.Money(used * 20_000)
	case target.RatingGroup == VolumeSwitch:
		return ocs.Money((used + 99) / 100), ocs.Money((used + 49) / 50)
	}
	price := Price(target.RatingGroup, used)
	return price, price
}
