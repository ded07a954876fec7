package ocs

import (
	"fmt"
	"math"
	"time"
)

// clock is the compiled form of a tariff entry's bands.
type clock struct {
	zone     *time.Location
	bands    []clockBand
	edges    []int // seconds since local midnight at which a price may change
	standard Money // outside all bands
}

type clockBand struct {
	days        uint8 // bit n: time.Weekday(n)
	dates       map[int]bool
	from, until int // seconds since local midnight
	price       Money
}

const daySeconds = 24 * 60 * 60

// forever is the end of the last price: no usage reaches it.
var forever = time.Unix(math.MaxInt32*1000, 0)

func newClock(e TariffEntry) (*clock, error) {
	zone, err := time.LoadLocation(e.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	c := &clock{zone: zone, standard: e.Price}
	for _, b := range e.Bands {
		band, err := compileBand(b)
		if err != nil {
			return nil, err
		}
		c.bands = append(c.bands, band)
		c.edges = append(c.edges, band.from, band.until)
	}
	c.edges = append(c.edges, daySeconds)
	return c, nil
}

func compileBand(b Band) (clockBand, error) {
	band := clockBand{from: int(b.From / time.Second), until: int(b.Until / time.Second), price: b.Price}
	if band.until == 0 {
		band.until = daySeconds
	}
	if band.from < 0 || band.from >= band.until || band.until > daySeconds {
		return band, fmt.Errorf("band %v to %v: want 0 <= from < until <= 24h (split a band at midnight)", b.From, b.Until)
	}
	for _, d := range b.Days {
		if d < time.Sunday || d > time.Saturday {
			return band, fmt.Errorf("band: %d is no weekday", d)
		}
		band.days |= 1 << d
	}
	if len(b.Days) == 0 {
		band.days = 1<<7 - 1
	}
	for _, text := range b.Dates {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return band, fmt.Errorf("band: date: %w", err)
		}
		if band.dates == nil {
			band.dates = make(map[int]bool, len(b.Dates))
		}
		band.dates[dateNumber(day)] = true
	}
	return band, nil
}

func dateNumber(t time.Time) int {
	y, m, d := t.Date()
	return (y*100+int(m))*100 + d
}

// at gives the price at an instant and until when it holds at least. The
// second at which a band begins belongs to that band.
//
// Between two changes of the zone's offset local time runs evenly, so an edge
// is found by subtraction; stopping at the end of the offset too makes the
// 23-hour and the 25-hour day come out right.
func (c *clock) at(t time.Time) (Money, time.Time) {
	local := t.In(c.zone)
	hour, minute, second := local.Clock()
	now := (hour*60+minute)*60 + second
	next := daySeconds
	for _, edge := range c.edges {
		if edge > now {
			next = min(next, edge)
		}
	}
	until := t.Truncate(time.Second).Add(time.Duration(next-now) * time.Second)
	if _, end := local.ZoneBounds(); !end.IsZero() && end.Before(until) {
		until = end
	}
	return c.price(local, now), until
}

func (c *clock) price(local time.Time, now int) Money {
	for i := range c.bands {
		b := &c.bands[i]
		if now < b.from || now >= b.until {
			continue
		}
		if b.dates != nil {
			if b.dates[dateNumber(local)] {
				return b.price
			}
		} else if b.days&(1<<local.Weekday()) != 0 {
			return b.price
		}
	}
	return c.standard
}

// priceAt is the price for Per units at an instant and until when it holds.
func (p *price) priceAt(t time.Time) (Money, time.Time) {
	if p.clock == nil {
		return p.Price, forever
	}
	return p.clock.at(t)
}

// dearest is the highest price between two instants: what a grant that may be
// used at any time in between has to be frozen at.
func (p *price) dearest(from, until time.Time) Money {
	highest, next := p.priceAt(from)
	for next.Before(until) {
		var v Money
		v, next = p.priceAt(next)
		highest = max(highest, v)
	}
	return highest
}

// switchLookBack bounds the search for the last change of price: bands repeat
// weekly, so a change a week ago is no news to any report.
const switchLookBack = 7 * 24 * time.Hour

// switchBefore gives the price before the last change of price up to t, and
// the price at t; they are equal when it never changes.
func (p *price) switchBefore(t time.Time) (before, after Money) {
	after, _ = p.priceAt(t)
	before = after
	for at := t.Add(-switchLookBack); at.Before(t); {
		v, next := p.priceAt(at)
		if v != after {
			before = v
		}
		at = next
	}
	return before, after
}

// nextSwitch is the first change of price between two instants, zero when
// there is none (Tariff-Time-Change, RFC 8506 §8.20).
func (p *price) nextSwitch(from, until time.Time) time.Time {
	now, next := p.priceAt(from)
	for next.Before(until) {
		v, end := p.priceAt(next)
		if v != now {
			return next
		}
		next = end
	}
	return time.Time{}
}

// free reports whether the price is zero whenever and however much is used.
func (p *price) free() bool {
	return p.Fee == 0 && p.Minimum == 0 && p.highest == 0
}
