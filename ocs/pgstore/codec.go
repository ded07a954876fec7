package pgstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"gygate/ocs"
)

// What a session remembers of its targets and outcomes stands in two bytea
// columns: variable-length integers and length-prefixed texts behind a format
// number. It is read and written by every step, where JSON would cost more than
// all the rest of the step.

// codecFormat is the format written. A change of what is written is a new number,
// and the decoder still reads the old ones: open sessions outlive an upgrade.
//
//	1  the first
//	2  targets: final, pool, interim, earlier; items: final action and pool share
//	3  targets: the freezes, in a form that SQL can read, before a column of format 2
const (
	codecFormat   = 2
	freezesFormat = 3
)

// targetMax bounds the name of a target, in octets: rating group and identifiers.
const targetMax = 4096

// decodeMax bounds the counts in a column: a session has at most ocs.TargetsMax
// targets, a step at most ocs.ItemsMax items.
const decodeMax = 1024

var errCodec = errors.New("broken session state")

// appendTargets writes the freezes of all targets, then the targets (the freezes'
// form is that of migration 0006, which has a function to read them).
func appendTargets(b []byte, targets []*ocs.TargetState) []byte {
	e := encoder(appendFreezes(b, targets))
	e = append(e, codecFormat)
	e.count(len(targets))
	for _, t := range targets {
		e.text(string(t.Target))
		e.unsigned(uint64(t.RatingGroup))
		e.text(t.Called)
		e.text(t.Rate)
		e.unsigned(uint64(t.Unit))
		e.signed(t.Used)
		e.signed(int64(t.Charged))
		e.signed(t.Meter.Rated)
		e.signed(t.Meter.Begun)
		e.signed(int64(t.Meter.Whole))
		e.signed(t.Meter.Rest)
		e.signed(t.Granted)
		e.unsigned(uint64(t.GrantNumber))
		e.flag(t.Final)
		e.flag(t.Pool)
		e.signed(t.Interim)
		e.signed(int64(t.Earlier))
	}
	return e
}

func appendFreezes(b []byte, targets []*ocs.TargetState) []byte {
	b = append(b, freezesFormat, 0, 0)
	count := len(b) - 2
	n := 0
	for _, t := range targets {
		for _, f := range t.Freezes {
			n++
			b = binary.BigEndian.AppendUint16(b, uint16(len(t.Target)))
			b = append(b, t.Target...)
			b = binary.BigEndian.AppendUint64(b, uint64(f.Balance))
			b = binary.BigEndian.AppendUint64(b, uint64(f.Amount))
		}
	}
	binary.BigEndian.PutUint16(b[count:], uint16(n))
	return b
}

func decodeTargets(b []byte) ([]*ocs.TargetState, error) {
	freezes, b, err := decodeFreezes(b)
	if err != nil {
		return nil, err
	}
	d := newDecoder(b)
	n := d.count()
	if n == 0 && len(freezes) == 0 {
		return nil, d.end("targets")
	}
	states := make([]ocs.TargetState, n)
	targets := make([]*ocs.TargetState, n)
	for i := range states {
		t := &states[i]
		targets[i] = t
		t.Target = ocs.Target(d.text())
		t.RatingGroup = uint32(d.unsigned())
		t.Called = d.text()
		t.Rate = d.text()
		t.Unit = ocs.UnitKind(d.unsigned())
		t.Used = d.signed()
		t.Charged = ocs.Money(d.signed())
		t.Meter.Rated = d.signed()
		t.Meter.Begun = d.signed()
		t.Meter.Whole = ocs.Money(d.signed())
		t.Meter.Rest = d.signed()
		t.Granted = d.signed()
		t.GrantNumber = uint32(d.unsigned())
		if d.format < 2 {
			continue
		}
		t.Final = d.flag()
		t.Pool = d.flag()
		t.Interim = d.signed()
		t.Earlier = ocs.Money(d.signed())
	}
	if err := d.end("targets"); err != nil {
		return nil, err
	}
	return targets, attach(freezes, targets)
}

// targetFreeze is a freeze with the target it is for.
type targetFreeze struct {
	target ocs.Target
	freeze ocs.Freeze
}

// decodeFreezes reads the freezes before a column of targets; an older column has
// none.
func decodeFreezes(b []byte) (freezes []targetFreeze, rest []byte, err error) {
	if len(b) == 0 || b[0] != freezesFormat {
		return nil, b, nil
	}
	d := &decoder{rest: b[1:], format: freezesFormat}
	for range d.uint16() {
		if d.broken {
			break
		}
		f := targetFreeze{target: ocs.Target(d.take(d.uint16()))}
		f.freeze = ocs.Freeze{Balance: d.int64(), Amount: d.int64()}
		freezes = append(freezes, f)
	}
	if d.broken {
		return nil, nil, fmt.Errorf("%w: freezes do not decode", errCodec)
	}
	return freezes, d.rest, nil
}

// attach gives the targets their freezes. One of no target could never be ended.
func attach(freezes []targetFreeze, targets []*ocs.TargetState) error {
	for _, f := range freezes {
		i := slices.IndexFunc(targets, func(t *ocs.TargetState) bool { return t.Target == f.target })
		if i < 0 {
			return fmt.Errorf("%d frozen for target %q, which the session does not know: %w", f.freeze.Amount, f.target, errInvariant)
		}
		targets[i].Freezes = append(targets[i].Freezes, f.freeze)
	}
	return nil
}

func appendOutcomes(b []byte, outcomes []ocs.StoredOutcome) []byte {
	e := encoder(append(b, codecFormat))
	e.count(len(outcomes))
	for i := range outcomes {
		e.stored(&outcomes[i])
	}
	return e
}

func decodeOutcomes(b []byte) ([]ocs.StoredOutcome, error) {
	d := newDecoder(b)
	n := d.count()
	if n == 0 {
		return nil, d.end("outcomes")
	}
	outcomes := make([]ocs.StoredOutcome, n)
	for i := range outcomes {
		d.stored(&outcomes[i])
	}
	return outcomes, d.end("outcomes")
}

func encodeOutcome(o *ocs.StoredOutcome) []byte {
	e := encoder{codecFormat}
	e.stored(o)
	return e
}

func decodeOutcome(b []byte) (*ocs.StoredOutcome, error) {
	d := newDecoder(b)
	var o ocs.StoredOutcome
	d.stored(&o)
	return &o, d.end("outcome")
}

func (e *encoder) stored(o *ocs.StoredOutcome) {
	e.unsigned(uint64(o.Type))
	e.unsigned(uint64(o.Number))
	*e = append(*e, o.Content[:]...)
	e.text(string(o.Outcome.Refusal))
	e.signed(int64(o.Outcome.Cost))
	e.unsigned(uint64(o.Outcome.Currency))
	e.signed(int64(o.Outcome.Available))
	e.flag(o.Outcome.NoCredit)
	e.count(len(o.Outcome.Items))
	for i := range o.Outcome.Items {
		e.item(&o.Outcome.Items[i])
	}
}

func (d *decoder) stored(o *ocs.StoredOutcome) {
	o.Type = ocs.StepType(d.unsigned())
	o.Number = uint32(d.unsigned())
	copy(o.Content[:], d.take(len(o.Content)))
	o.Outcome.Refusal = ocs.Refusal(d.text())
	o.Outcome.Cost = ocs.Money(d.signed())
	o.Outcome.Currency = ocs.Currency(d.unsigned())
	o.Outcome.Available = ocs.Money(d.signed())
	o.Outcome.NoCredit = d.flag()
	if n := d.count(); n > 0 {
		o.Outcome.Items = make([]ocs.ItemOutcome, n)
	}
	for i := range o.Outcome.Items {
		d.item(&o.Outcome.Items[i])
	}
}

func (e *encoder) item(o *ocs.ItemOutcome) {
	e.text(string(o.Target))
	e.unsigned(uint64(o.RatingGroup))
	e.text(string(o.Refusal))
	if e.flag(o.Granted != nil); o.Granted != nil {
		e.unsigned(uint64(o.Granted.Kind))
		e.signed(o.Granted.Quantity)
	}
	e.signed(int64(o.ValidFor))
	e.signed(o.Threshold)
	e.flag(o.Final)
	e.signed(int64(o.Debited))
	e.signed(int64(o.Refunded))
	e.signed(int64(o.Reserved))
	e.signed(int64(o.Overrun))
	e.text(string(o.RefundToken))
	e.time(o.SwitchAt)
	e.signed(o.Capped)
	e.unsigned(uint64(o.FinalAction))
	if e.flag(o.Pool != nil); o.Pool != nil {
		e.unsigned(uint64(o.Pool.ID))
		e.signed(int64(o.Pool.Multiplier))
	}
}

func (d *decoder) item(o *ocs.ItemOutcome) {
	o.Target = ocs.Target(d.text())
	o.RatingGroup = uint32(d.unsigned())
	o.Refusal = ocs.Refusal(d.text())
	if d.flag() {
		o.Granted = &ocs.Units{Kind: ocs.UnitKind(d.unsigned()), Quantity: d.signed()}
	}
	o.ValidFor = time.Duration(d.signed())
	o.Threshold = d.signed()
	o.Final = d.flag()
	o.Debited = ocs.Money(d.signed())
	o.Refunded = ocs.Money(d.signed())
	o.Reserved = ocs.Money(d.signed())
	o.Overrun = ocs.Money(d.signed())
	if token := d.text(); token != "" {
		o.RefundToken = []byte(token)
	}
	o.SwitchAt = d.time()
	o.Capped = d.signed()
	if d.format < 2 {
		return
	}
	o.FinalAction = ocs.FinalAction(d.unsigned())
	if d.flag() {
		o.Pool = &ocs.PoolShare{ID: uint32(d.unsigned()), Multiplier: ocs.Money(d.signed())}
	}
}

// encoder appends values.
type encoder []byte

func (e *encoder) unsigned(v uint64) { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) signed(v int64)    { *e = binary.AppendVarint(*e, v) }
func (e *encoder) count(n int)       { e.unsigned(uint64(n)) }

func (e *encoder) text(s string) {
	e.count(len(s))
	*e = append(*e, s...)
}

func (e *encoder) flag(f bool) {
	b := byte(0)
	if f {
		b = 1
	}
	*e = append(*e, b)
}

// time keeps microseconds, as the database does.
func (e *encoder) time(t time.Time) {
	if e.flag(!t.IsZero()); !t.IsZero() {
		e.signed(t.UnixMicro())
	}
}

// decoder reads values. After the first fault every value is zero, and end tells.
type decoder struct {
	rest   []byte
	broken bool
	format byte
}

func newDecoder(b []byte) *decoder {
	d := &decoder{rest: b}
	if head := d.take(1); head != nil {
		d.format = head[0]
	}
	d.broken = d.broken || d.format < 1 || d.format > codecFormat
	return d
}

func (d *decoder) unsigned() uint64 {
	v, n := binary.Uvarint(d.rest)
	return advance(d, v, n)
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.rest)
	return advance(d, v, n)
}

func advance[T int64 | uint64](d *decoder, v T, n int) T {
	if n <= 0 || d.broken {
		d.broken = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) uint16() int {
	b := d.take(2)
	if b == nil {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

func (d *decoder) int64() int64 {
	b := d.take(8)
	if b == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func (d *decoder) count() int {
	n := d.unsigned()
	if n > decodeMax {
		d.broken = true
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if d.broken || n > len(d.rest) {
		d.broken = true
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) text() string {
	n := d.unsigned()
	if n > uint64(len(d.rest)) {
		d.broken = true
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) flag() bool {
	b := d.take(1)
	return len(b) == 1 && b[0] == 1
}

func (d *decoder) time() time.Time {
	if !d.flag() {
		return time.Time{}
	}
	return time.UnixMicro(d.signed()).UTC()
}

func (d *decoder) end(what string) error {
	if d.broken || len(d.rest) != 0 {
		return fmt.Errorf("%w: %s of format %d do not decode", errCodec, what, d.format)
	}
	return nil
}
