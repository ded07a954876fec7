package pgstore

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"gygate/ocs"
)

// A field that somebody adds to what a session remembers must not get lost: every
// field is filled with a value of its own and must come back.
func TestCodecKeepsEveryField(t *testing.T) {
	fill := &filler{}
	var target ocs.TargetState
	fill.value(reflect.ValueOf(&target).Elem())
	targets, err := decodeTargets(appendTargets(nil, []*ocs.TargetState{&target, {}}))
	if err != nil || !reflect.DeepEqual(targets, []*ocs.TargetState{&target, {}}) {
		t.Errorf("targets: %v\n got %+v\nwant %+v", err, targets[0], &target)
	}

	var stored ocs.StoredOutcome
	fill.value(reflect.ValueOf(&stored).Elem())
	want := []ocs.StoredOutcome{stored, {Outcome: ocs.Outcome{Items: []ocs.ItemOutcome{{}}}}, {}}
	outcomes, err := decodeOutcomes(appendOutcomes(nil, want))
	if err != nil || !reflect.DeepEqual(outcomes, want) {
		t.Errorf("outcomes: %v\n got %+v\nwant %+v", err, outcomes, want)
	}
	outcome, err := decodeOutcome(encodeOutcome(&stored))
	if err != nil || !reflect.DeepEqual(outcome, &stored) {
		t.Errorf("outcome: %v\n got %+v\nwant %+v", err, outcome, stored)
	}
}

// What was written before the last change of the format is read as it was meant;
// what it did not know is zero.
func TestCodecReadsTheFirstFormat(t *testing.T) {
	targets, err := decodeTargets(unhex(t, "0102053130302f37640434393330086f6e2d6e657420310154c0a2335454c0a23306780200000000000000000000000000"))
	wantTargets := []*ocs.TargetState{{
		Target: "100/7", RatingGroup: 100, Called: "4930", Rate: "on-net 1", Unit: ocs.Seconds, Used: 42, Charged: 420_000,
		Meter: ocs.Meter{Rated: 42, Begun: 42, Whole: 420_000, Rest: 3}, Granted: 60, GrantNumber: 2,
	}, {}}
	if err != nil || !reflect.DeepEqual(targets, wantTargets) {
		t.Errorf("targets: %+v, %v", targets, err)
	}
	outcomes, err := decodeOutcomes(unhex(t, "010102020102030000000000000000000000000000c0a233d20780d1ca08000103313030640001017880e0a596bb111401c0a233c0fc15809f490e0109018080f2818389850608"))
	wantOutcomes := []ocs.StoredOutcome{{Type: ocs.Update, Number: 2, Content: [16]byte{1, 2, 3}, Outcome: ocs.Outcome{
		Cost: 420_000, Currency: 978, Available: 9_000_000, Items: []ocs.ItemOutcome{{
			Target: "100", RatingGroup: 100, Granted: &ocs.Units{Kind: ocs.Seconds, Quantity: 60}, ValidFor: 300 * time.Second, Threshold: 10,
			Final: true, Debited: 420_000, Refunded: 180_000, Reserved: 600_000, Overrun: 7, RefundToken: []byte{9},
			SwitchAt: time.UnixMicro(1.7e15).UTC(), Capped: 4,
		}},
	}}}
	if err != nil || !reflect.DeepEqual(outcomes, wantOutcomes) {
		t.Errorf("outcomes: %+v, %v", outcomes, err)
	}
}

// What migration 0006 makes of two freezes before the targets "" and "100".
func TestCodecReadsMigratedFreezes(t *testing.T) {
	const freezes = "0300020000000000000000010200000000000000070003313030" + "00000000000001020000000000000028"
	plain := appendTargets(nil, []*ocs.TargetState{{Target: "100"}, {}})[3:] // without the head of no freezes
	targets, err := decodeTargets(append(unhex(t, freezes), plain...))
	want := []*ocs.TargetState{
		{Target: "100", Freezes: []ocs.Freeze{{Balance: 258, Amount: 40}}},
		{Freezes: []ocs.Freeze{{Balance: 258, Amount: 7}}},
	}
	if err != nil || !reflect.DeepEqual(targets, want) {
		t.Errorf("targets %+v, %v", targets, err)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// filler gives every field a different value.
type filler struct{ n int64 }

func (f *filler) value(v reflect.Value) {
	f.n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(rune('a'+f.n%26)) + time.Duration(f.n).String())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64, reflect.Int32, reflect.Int:
		v.SetInt(-f.n * 1e6)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n%200 + 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.value(v.Index(0))
		f.value(v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			f.value(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.UnixMicro(1.7e15 + f.n).UTC()))
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Tag.Get("json") != "-" { // marks what is never stored
				f.value(v.Field(i))
			}
		}
	default:
		panic("the codec test knows no " + v.Kind().String())
	}
}

func TestCodecRefusesBrokenBytes(t *testing.T) {
	good := appendTargets(nil, []*ocs.TargetState{{Target: "100", Unit: ocs.Seconds, Used: 42, Charged: 420_000}})
	for n := range good {
		if _, err := decodeTargets(good[:n]); !errors.Is(err, errCodec) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := decodeTargets(append(good, 0)); !errors.Is(err, errCodec) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := decodeTargets([]byte{codecFormat + 1, 0}); !errors.Is(err, errCodec) {
		t.Errorf("a format of the future: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(appendTargets(nil, []*ocs.TargetState{{Target: "100", Used: 42}})))
	f.Add([]byte(appendOutcomes(nil, []ocs.StoredOutcome{{Type: ocs.Update, Outcome: ocs.Outcome{Items: []ocs.ItemOutcome{{Target: "100", Granted: &ocs.Units{}}}}}})))
	f.Add([]byte{1, 0})
	f.Add([]byte{codecFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeTargets(b)
		decodeOutcome(b)
		if outcomes, err := decodeOutcomes(b); err == nil {
			again, err := decodeOutcomes(appendOutcomes(nil, outcomes))
			if err != nil || !reflect.DeepEqual(again, outcomes) {
				t.Errorf("not the same after a round trip: %v", err)
			}
		}
	})
}
