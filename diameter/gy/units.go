package gy

import (
	"math"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

// Optional is the value of an AVP that may be absent.
type Optional[T any] struct {
	Value   T
	Present bool
}

// Some is an AVP that is there.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Present: true} }

// ServiceUnits is what Requested-, Used- and Granted-Service-Unit have in
// common (RFC 8506 §8.17 to §8.19): any of the unit types, or none.
type ServiceUnits struct {
	Time     Optional[uint32] // CC-Time, seconds
	Money    Optional[Amount] // CC-Money
	Total    Optional[uint64] // CC-Total-Octets
	Input    Optional[uint64] // CC-Input-Octets
	Output   Optional[uint64] // CC-Output-Octets
	Specific Optional[uint64] // CC-Service-Specific-Units
}

// UsedUnits is Used-Service-Unit with the members 3GPP adds.
type UsedUnits struct {
	ServiceUnits
	TariffChange Optional[uint32] // Tariff-Change-Usage
	Reason       Optional[uint32] // Reporting-Reason
}

// GrantedUnits is Granted-Service-Unit.
type GrantedUnits struct {
	ServiceUnits
	TariffTimeChange time.Time // zero: none
}

// append writes the unit types in the order of the group's grammar.
func (u *ServiceUnits) append(b []byte) []byte {
	b = appendOptional32(b, diameter.CCTime, u.Time)
	if u.Money.Present {
		b = diameter.AppendGroup(b, diameter.CCMoney, u.Money.Value.append)
	}
	b = appendOptional64(b, diameter.CCTotalOctets, u.Total)
	b = appendOptional64(b, diameter.CCInputOctets, u.Input)
	b = appendOptional64(b, diameter.CCOutputOctets, u.Output)
	return appendOptional64(b, diameter.CCServiceSpecificUnits, u.Specific)
}

func (u *UsedUnits) append(b []byte) []byte {
	b = appendOptional32(b, diameter.TariffChangeUsage, u.TariffChange)
	b = u.ServiceUnits.append(b)
	return appendOptional32(b, diameter.ReportingReason, u.Reason)
}

func (u *GrantedUnits) append(b []byte) []byte {
	if !u.TariffTimeChange.IsZero() {
		b = diameter.AppendTime(b, diameter.TariffTimeChange, u.TariffTimeChange)
	}
	return u.ServiceUnits.append(b)
}

// take reads one member of a unit group; members it does not know stay unread.
func (u *ServiceUnits) take(a *diameter.AVP) *diameter.Error {
	switch {
	case a.Vendor != 0:
		return nil
	case a.Code == diameter.CCTime.Code:
		u.Time = Some(a.Uint32())
	case a.Code == diameter.CCMoney.Code:
		amount, err := parseAmount(*a)
		u.Money = Some(amount)
		return err
	case a.Code == diameter.CCTotalOctets.Code:
		return takeCount(&u.Total, a)
	case a.Code == diameter.CCInputOctets.Code:
		return takeCount(&u.Input, a)
	case a.Code == diameter.CCOutputOctets.Code:
		return takeCount(&u.Output, a)
	case a.Code == diameter.CCServiceSpecificUnits.Code:
		return takeCount(&u.Specific, a)
	}
	return nil
}

// takeCount reads an Unsigned64 quantity. The books count in int64, so a larger
// one is an invalid value, not a wrapped one.
func takeCount(to *Optional[uint64], a *diameter.AVP) *diameter.Error {
	if a.Uint64() > math.MaxInt64 {
		return invalid(a.Raw, "quantity beyond 63 bits")
	}
	*to = Some(a.Uint64())
	return nil
}

func parseUnits(u *ServiceUnits, group *diameter.AVP) *diameter.Error {
	for a := range diameter.Scan(group.Data) {
		if err := u.take(a); err != nil {
			return err
		}
	}
	return nil
}

func parseUsed(u *UsedUnits, group *diameter.AVP) *diameter.Error {
	for a := range diameter.Scan(group.Data) {
		switch {
		case a.Is(diameter.TariffChangeUsage):
			u.TariffChange = Some(a.Uint32())
		case a.Is(diameter.ReportingReason):
			u.Reason = Some(a.Uint32())
		default:
			if err := u.take(a); err != nil {
				return err
			}
		}
	}
	if u.octetsOverflow() {
		return invalid(group.Raw, "input and output octets beyond 63 bits")
	}
	return nil
}

func parseGranted(group diameter.AVP) (u GrantedUnits, err *diameter.Error) {
	for a := range group.Group() {
		if a.Is(diameter.TariffTimeChange) {
			u.TariffTimeChange = a.Time()
			continue
		}
		if err = u.take(&a); err != nil {
			return u, err
		}
	}
	return u, nil
}

func (u *ServiceUnits) octetsOverflow() bool {
	return !u.Total.Present && u.Input.Value+u.Output.Value > math.MaxInt64
}

// octets reads the octet AVPs by one rule: the total when it is there, whatever
// the parts say, else their sum (conformance B-079).
func (u *ServiceUnits) octets() (int64, bool) {
	if u.Total.Present {
		return int64(u.Total.Value), true
	}
	sum := u.Input.Value + u.Output.Value
	return int64(min(sum, math.MaxInt64)), u.Input.Present || u.Output.Present
}

// of returns the quantity of one kind.
func (u *ServiceUnits) of(kind ocs.UnitKind) (int64, bool) {
	switch kind {
	case ocs.Seconds:
		return int64(u.Time.Value), u.Time.Present
	case ocs.Octets:
		return u.octets()
	case ocs.Events:
		return int64(u.Specific.Value), u.Specific.Present
	case ocs.Amount:
		// The parser has refused whatever does not fit.
		m, _ := u.Money.Value.Value.Money()
		return int64(m), u.Money.Present
	case ocs.Unspecified:
	}
	return 0, false
}

// kinds are the kinds of unit, in the order in which one is looked for when the
// context's own is not there.
var kinds = [...]ocs.UnitKind{ocs.Seconds, ocs.Octets, ocs.Events, ocs.Amount}

// Units picks the one quantity that counts in a request or grant: of the wanted
// kind when it is there; else of the first kind present, so that the charging
// rules see what was really said. An empty group is {Unspecified, 0}: "you
// decide".
func (u *ServiceUnits) Units(want ocs.UnitKind) ocs.Units {
	if n, ok := u.of(want); ok {
		return ocs.Units{Kind: want, Quantity: n}
	}
	for _, kind := range kinds {
		if n, ok := u.of(kind); ok {
			return ocs.Units{Kind: kind, Quantity: n}
		}
	}
	return ocs.Units{}
}

// set is the inverse: it puts one quantity into an empty group. Octets go out as
// the total only, the one form every gateway reads (conformance D-053).
func (u *ServiceUnits) set(q ocs.Units, c ocs.Currency) {
	switch q.Kind {
	case ocs.Seconds:
		u.Time = Some(uint32(min(q.Quantity, math.MaxUint32)))
	case ocs.Octets:
		u.Total = Some(uint64(q.Quantity))
	case ocs.Events:
		u.Specific = Some(uint64(q.Quantity))
	case ocs.Amount:
		u.Money = Some(AmountOf(ocs.Money(q.Quantity), c))
	case ocs.Unspecified:
	}
}

func appendOptional32(b []byte, a diameter.Attribute, v Optional[uint32]) []byte {
	if !v.Present {
		return b
	}
	return diameter.AppendUint32(b, a, v.Value)
}

func appendOptional64(b []byte, a diameter.Attribute, v Optional[uint64]) []byte {
	if !v.Present {
		return b
	}
	return diameter.AppendUint64(b, a, v.Value)
}

// appendText writes a text AVP unless it is empty.
func appendText(b []byte, a diameter.Attribute, s string) []byte {
	if s == "" {
		return b
	}
	return diameter.AppendString(b, a, s)
}

// appendTimeIf writes a Time AVP unless it is zero.
func appendTimeIf(b []byte, a diameter.Attribute, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return diameter.AppendTime(b, a, t)
}

// invalid is the answer to a value that cannot be served (5004): Failed-AVP
// holds the AVP as it came.
func invalid(raw []byte, text string) *diameter.Error {
	return &diameter.Error{Code: diameter.InvalidAVPValue, Failed: raw, Text: text}
}
