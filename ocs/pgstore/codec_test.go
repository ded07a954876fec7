package pgstore

import (
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
	targets, err := decodeTargets(encodeTargets([]*ocs.TargetState{&target, {}}))
	if err != nil || !reflect.DeepEqual(targets, []*ocs.TargetState{&target, {}}) {
		t.Errorf("targets: %v\n got %+v\nwant %+v", err, targets[0], &target)
	}

	var stored ocs.StoredOutcome
	fill.value(reflect.ValueOf(&stored).Elem())
	want := []ocs.StoredOutcome{stored, {Outcome: ocs.Outcome{Items: []ocs.ItemOutcome{{}}}}, {}}
	outcomes, err := decodeOutcomes(encodeOutcomes(want))
	if err != nil || !reflect.DeepEqual(outcomes, want) {
		t.Errorf("outcomes: %v\n got %+v\nwant %+v", err, outcomes, want)
	}
	outcome, err := decodeOutcome(encodeOutcome(&stored))
	if err != nil || !reflect.DeepEqual(outcome, &stored) {
		t.Errorf("outcome: %v\n got %+v\nwant %+v", err, outcome, stored)
	}
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
			if v.Type().Field(i).Tag.Get("json") != "-" { // marks what is never stored
				f.value(v.Field(i))
			}
		}
	default:
		panic("the codec test knows no " + v.Kind().String())
	}
}

func TestCodecRefusesBrokenBytes(t *testing.T) {
	good := encodeTargets([]*ocs.TargetState{{Target: "100", Unit: ocs.Seconds, Used: 42, Charged: 420_000}})
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
	f.Add([]byte(encodeTargets([]*ocs.TargetState{{Target: "100", Used: 42}})))
	f.Add([]byte(encodeOutcomes([]ocs.StoredOutcome{{Type: ocs.Update, Outcome: ocs.Outcome{Items: []ocs.ItemOutcome{{Target: "100", Granted: &ocs.Units{}}}}}})))
	f.Add([]byte{codecFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeTargets(b)
		decodeOutcome(b)
		if outcomes, err := decodeOutcomes(b); err == nil {
			again, err := decodeOutcomes(encodeOutcomes(outcomes))
			if err != nil || !reflect.DeepEqual(again, outcomes) {
				t.Errorf("not the same after a round trip: %v", err)
			}
		}
	})
}
