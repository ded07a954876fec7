package ocs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AnyService in TariffEntry.Service prices a rating group for every service
// that has no entry of its own.
const AnyService = "*"

// TariffEntry is one version of one price: what a rating group costs towards a
// destination. The zero First, Following and Per mean 1.
type TariffEntry struct {
	ID          string
	Version     int
	Service     string // service context, or AnyService
	RatingGroup uint32
	Prefix      string // digits the destination starts with, "": all; the longest match wins
	Unit        UnitKind
	Currency    Currency
	Fee         Money // connection fee, once, with the first unit
	Minimum     Money // the least a use costs, fee included
	First       int64 // units of the first increment
	Following   int64 // units of every further increment
	Price       Money // for Per units, outside all bands
	Per         int64
	Bands       []Band // prices by the clock; the first that covers an instant counts
	Zone        string // IANA time zone of the bands, "": UTC
	ValidFrom   time.Time
}

// Band is a price for a part of the day, for the entry's Per units.
type Band struct {
	Days  []time.Weekday // nil: every day
	Dates []string       // local dates "2026-10-01" (holidays); when set, Days is not looked at
	From  time.Duration  // since local midnight, inclusive
	Until time.Duration  // exclusive; 0 or 24h: the end of the day
	Price Money
}

// ServiceContext is a service the OCS serves (Service-Context-Id, RFC 8506
// §8.42, without operator and release labels).
type ServiceContext struct {
	Name               string   // "32260@3gpp.org"
	DefaultRatingGroup uint32   // prices an item that names neither group nor service
	Unit               UnitKind // what the service usually counts
	// ItemRefusals keeps refusals inside the items and the session open, as
	// data gateways expect; without it a request whose items are all refused
	// is refused as a whole.
	ItemRefusals bool
	// Overrides of the policy; 0: the policy's.
	Validity    time.Duration
	Supervision time.Duration

	ServiceOptions
}

// ServiceOptions is what an operator may set for a service beyond its prices. The
// zero value: the final slice ends the service, refusals are codes, the client's
// own defaults hold for the rest. It is stored as JSON.
type ServiceOptions struct {
	// FinalAction is what the client does when the final units are used up (RFC
	// 8506 §5.6). Redirect and Filters say where to, and what stays allowed.
	FinalAction FinalAction `json:"final_action,omitempty"`
	Redirect    *Redirect   `json:"redirect,omitempty"`     // with FinalRedirect
	Filters     []string    `json:"filters,omitempty"`      // Restriction-Filter-Rule (IPFilterRule), with FinalRestrict
	FilterIDs   []string    `json:"filter_ids,omitempty"`   // Filter-Id, with FinalRestrict
	ZeroGrant   bool        `json:"zero_grant,omitempty"`   // no credit in mid-session: zero units and the final indication instead of 4012 (B-136)
	Announce    uint32      `json:"announce,omitempty"`     // Announcement-Identifier played before a final grant ends; 0: none
	Bar         BarAction   `json:"bar,omitempty"`          // when the payer is barred in mid-session
	HoldSeconds uint32      `json:"hold_seconds,omitempty"` // Quota-Holding-Time of grants; 0: not sent
	// ConsumptionSeconds is Quota-Consumption-Time of time grants; 0: not sent.
	ConsumptionSeconds uint32 `json:"consumption_seconds,omitempty"`
	// Triggers replaces the client's list of re-authorisation triggers
	// (Trigger-Type, TS 32.299 §7.2.236); empty: none, nil: the client's own.
	Triggers *[]uint32 `json:"triggers,omitempty"`
	// Pool: grants of one session share a credit pool (RFC 8506 §5.1.2).
	Pool bool `json:"pool,omitempty"`
	// FailureHandling by service class of the payer, "" for all others
	// (Credit-Control-Failure-Handling, 0 to 2); none: the server's.
	FailureHandling map[string]uint32 `json:"failure_handling,omitempty"`
	// DebitFailure is Direct-Debiting-Failure-Handling (0, 1); nil: not sent.
	DebitFailure *uint32 `json:"debit_failure,omitempty"`
}

// Check reports what cannot be sent: values that do not exist, and a final action
// that does not say what follows (RFC 8506 §8.34).
func (o ServiceOptions) Check() error {
	switch {
	case o.FinalAction > FinalRestrict:
		return fmt.Errorf("final action %d: want 0 (terminate), 1 (redirect) or 2 (restrict)", o.FinalAction)
	case o.FinalAction == FinalRedirect && (o.Redirect == nil || o.Redirect.Address == ""):
		return errors.New("final action redirect: say where to (redirect: type, address)")
	case o.Redirect != nil && o.Redirect.Type > redirectTypeMax:
		return fmt.Errorf("redirect type %d: want 0 (IPv4), 1 (IPv6), 2 (URL) or 3 (SIP URI)", o.Redirect.Type)
	case o.FinalAction == FinalRestrict && len(o.Filters)+len(o.FilterIDs) == 0:
		return errors.New("final action restrict: say what stays allowed (filters, filter_ids)")
	case o.Bar > BarAsk:
		return fmt.Errorf("bar %d: want 0 (by service), 1 (abort) or 2 (ask)", o.Bar)
	case o.DebitFailure != nil && *o.DebitFailure > 1:
		return fmt.Errorf("debit failure %d: want 0 (terminate or buffer) or 1 (continue)", *o.DebitFailure)
	}
	for class, handling := range o.FailureHandling {
		if handling > 2 {
			return fmt.Errorf("failure handling %d of class %q: want 0 (terminate), 1 (continue) or 2 (retry and terminate)", handling, class)
		}
	}
	return nil
}

// redirectTypeMax is the last Redirect-Address-Type, SIP URI.
const redirectTypeMax = 3

// BarAction says how a session learns that its payer has been barred.
type BarAction uint8

// The bar actions. The default follows the service: end it where a refusal ends
// the session, else let the client ask and refuse inside the items (B-198).
const (
	BarDefault BarAction = iota
	BarAbort             // Abort-Session-Request
	BarAsk               // Re-Auth-Request; the CCR-U is then refused 4010
)

// Redirect is where an end user without credit is sent (RFC 8506 §8.37).
type Redirect struct {
	Type    uint32 `json:"type"` // Redirect-Address-Type: 0 IPv4, 1 IPv6, 2 URL, 3 SIP URI
	Address string `json:"address"`
}

// Tariff is an immutable snapshot of all prices and service contexts.
type Tariff struct {
	contexts map[string]*ServiceContext
	prices   map[priceKey]*priceList
	pinned   map[string]*price // by TargetState.Rate
}

type priceKey struct {
	service     string
	ratingGroup uint32
	currency    Currency
}

// priceList holds the versions of one price key by destination prefix.
type priceList struct {
	longest  int                 // longest prefix in use
	versions map[string][]*price // by prefix, newest first
}

// price is a checked, compiled TariffEntry.
type price struct {
	TariffEntry
	rate    string // ID and version, pinned in the session
	clock   *clock // nil: the same price at all times
	highest Money  // of all its prices
}

// NewTariff checks and indexes entries and contexts. The error joins all
// faults.
func NewTariff(entries []TariffEntry, contexts []ServiceContext) (*Tariff, error) {
	t := &Tariff{
		contexts: make(map[string]*ServiceContext, len(contexts)),
		prices:   make(map[priceKey]*priceList),
		pinned:   make(map[string]*price, len(entries)),
	}
	var faults []error
	for i := range contexts {
		faults = append(faults, t.addContext(contexts[i]))
	}
	for i := range entries {
		faults = append(faults, t.addEntry(entries[i]))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, list := range t.prices {
		for _, versions := range list.versions {
			slices.SortFunc(versions, func(a, b *price) int {
				return cmp.Or(b.ValidFrom.Compare(a.ValidFrom), cmp.Compare(b.Version, a.Version))
			})
		}
	}
	return t, nil
}

func (t *Tariff) addContext(c ServiceContext) error {
	if c.Name == "" {
		return errors.New("service context without a name")
	}
	if t.contexts[c.Name] != nil {
		return fmt.Errorf("service context %s is there twice", c.Name)
	}
	if c.Validity != 0 && c.Validity < ValidityMin {
		return fmt.Errorf("service context %s: validity %v: want at least %v", c.Name, c.Validity, ValidityMin)
	}
	if err := c.ServiceOptions.Check(); err != nil {
		return fmt.Errorf("service context %s: %w", c.Name, err)
	}
	t.contexts[c.Name] = &c
	return nil
}

func (t *Tariff) addEntry(e TariffEntry) error {
	e.First, e.Following, e.Per = cmp.Or(e.First, 1), cmp.Or(e.Following, 1), cmp.Or(e.Per, 1)
	p := &price{TariffEntry: e, rate: fmt.Sprintf("%s@%d", e.ID, e.Version)}
	if err := e.check(); err != nil {
		return fmt.Errorf("tariff %s: %w", p.rate, err)
	}
	if t.pinned[p.rate] != nil {
		return fmt.Errorf("tariff %s is there twice", p.rate)
	}
	p.highest = e.Price
	for _, b := range e.Bands {
		p.highest = max(p.highest, b.Price)
	}
	if len(e.Bands) > 0 {
		var err error
		if p.clock, err = newClock(e); err != nil {
			return fmt.Errorf("tariff %s: %w", p.rate, err)
		}
	}
	t.pinned[p.rate] = p
	key := priceKey{e.Service, e.RatingGroup, e.Currency}
	list := t.prices[key]
	if list == nil {
		list = &priceList{versions: make(map[string][]*price)}
		t.prices[key] = list
	}
	list.longest = max(list.longest, len(e.Prefix))
	list.versions[e.Prefix] = append(list.versions[e.Prefix], p)
	return nil
}

// PriceMax bounds a fee, minimum or price, so that no slice of a sane policy
// can overflow: ten million units of the currency.
const PriceMax = 10_000_000 * MoneyScale

func (e *TariffEntry) check() error {
	var faults []error
	fault := func(is bool, text string) {
		if is {
			faults = append(faults, errors.New(text))
		}
	}
	fault(e.ID == "", "has no id")
	fault(e.Service == "", "has no service")
	fault(e.Unit != Seconds && e.Unit != Octets && e.Unit != Events, "unit is not seconds, octets or events")
	fault(e.Currency == 0, "has no currency")
	fault(strings.Trim(e.Prefix, "0123456789") != "", "prefix "+e.Prefix+" is not digits")
	fault(e.First < 1 || e.Following < 1 || e.Per < 1, "increments and per must be positive")
	fault(e.First > incrementMax || e.Following > incrementMax, "increment is too large")
	fault(e.Fee < 0 || e.Fee > PriceMax, "fee out of range")
	fault(e.Minimum < 0 || e.Minimum > PriceMax, "minimum out of range")
	fault(e.Price < 0 || e.Price > PriceMax, "price out of range")
	for _, b := range e.Bands {
		fault(b.Price < 0 || b.Price > PriceMax, "price of a band out of range")
	}
	return errors.Join(faults...)
}

// Context returns the service context of a name, nil when it is not served.
func (t *Tariff) Context(name string) *ServiceContext { return t.contexts[name] }

// Contexts lists the service contexts by name.
func (t *Tariff) Contexts() []ServiceContext {
	list := make([]ServiceContext, 0, len(t.contexts))
	for _, c := range t.contexts {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b ServiceContext) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Entries lists the prices by service, rating group, prefix and version.
func (t *Tariff) Entries() []TariffEntry {
	list := make([]TariffEntry, 0, len(t.pinned))
	for _, p := range t.pinned {
		list = append(list, p.TariffEntry)
	}
	slices.SortFunc(list, func(a, b TariffEntry) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(a.RatingGroup, b.RatingGroup),
			strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	return list
}

// find returns the price in force at an instant: of the service itself, else of
// any service; of the longest prefix of called; nil when there is none.
func (t *Tariff) find(service string, ratingGroup uint32, called string, currency Currency, at time.Time) *price {
	for _, s := range [...]string{service, AnyService} {
		if list := t.prices[priceKey{s, ratingGroup, currency}]; list != nil {
			if p := list.find(called, at); p != nil {
				return p
			}
		}
	}
	return nil
}

func (l *priceList) find(called string, at time.Time) *price {
	for n := min(l.longest, len(called)); n >= 0; n-- {
		for _, p := range l.versions[called[:n]] {
			if !p.ValidFrom.After(at) {
				return p
			}
		}
	}
	return nil
}
