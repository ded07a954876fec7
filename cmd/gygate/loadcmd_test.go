package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"gygate/cmd/gygate/load"
	"gygate/diameter"
	"gygate/ocs"
)

// loadGate runs `gygate load` against a gygate of role ocs.
type loadGate struct{ target, dsn string }

func (g loadGate) run(t *testing.T, args ...string) (r loadResult, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"load", "--json", "--quiet", "--target", g.target, "--dsn", g.dsn, "--origin-host", benchHost,
		"--realm", benchRealm, "--first", benchNumber(0), "--subscribers", "1000", "--sessions", "32", "--used", "50"}, args...)
	code = execute(t.Context(), args, &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, out.String(), errs.String())
	}
	return r, code
}

// TestLoadKeepsTheBooks runs each kind of load and has it compare its answers with the
// accounts.
func TestLoadKeepsTheBooks(t *testing.T) {
	m := startCharging(t)
	gate := loadGate{m.diameterAddr.String(), m.books.dsn}
	const cent = ocs.MoneyScale / 100
	for _, c := range []struct {
		name     string
		args     string
		answered int64
		cost     ocs.Money
	}{
		{"sessions", "--requests 4000", 4000, 1000 * 3 * 50 * cent},
		{"sessions at the command", "--requests 4000 --command-level", 4000, 1000 * (5 + 3*50*2) * cent},
		{"long sessions of one account", "--requests 2000 --updates 18 --pick one", 2000, 100 * 19 * 50 * cent},
		{"repeats", "--requests 4000 --dup 0.2 --pick zipf", 4000, 1000 * 3 * 50 * cent},
		{"events", "--requests 1000 --mode event --dup 0.2", 1000, 1000 * 60 * cent},
		{"events at the command", "--requests 1000 --mode event --command-level", 1000, 1000 * (5 + 60*2) * cent},
		{"an open loop", "--requests 2000 --rate 4000 --dup 0.1", 2000, 500 * 3 * 50 * cent},
		{"sessions that stay open", "--requests 500 --mode open", 500, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, code := gate.run(t, strings.Fields(c.args)...)
			if code != exitOK || r.Answered != c.answered || r.Codes["2001"] != c.answered || r.Cost != c.cost || r.Unpriced != 0 {
				t.Errorf("exit %d: %+v", code, r.Report)
			}
			if b := r.Books; b == nil || b.Debited != c.cost || b.Accounts != 1000 || b.Violations != 0 {
				t.Errorf("debited %s, %d violations", b.Debited, b.Violations)
			}
			if repeats := strings.Contains(c.args, "--dup"); (r.Repeats > 0) != repeats || r.Differing != 0 {
				t.Errorf("%d repeats, %d answered otherwise", r.Repeats, r.Differing)
			}
		})
	}
	t.Run("accounts that are missing", func(t *testing.T) {
		args := []string{"--first", "4931000000", "--requests", "400"}
		var out, errs bytes.Buffer
		fixed := []string{"load", "--target", gate.target, "--dsn", gate.dsn, "--origin-host", benchHost, "--realm", benchRealm, "--quiet"}
		if code := execute(t.Context(), append(fixed, args...), &out, &errs); code != exitRefused || !strings.Contains(errs.String(), "--prepare") {
			t.Errorf("exit %d: %s", code, errs.String())
		}
		if r, code := gate.run(t, append(args, "--prepare")...); code != exitOK || r.Books.Accounts != 1000 {
			t.Errorf("exit %d: %+v", code, r.Report)
		}
	})
	t.Run("the identity of the tools, from this machine", func(t *testing.T) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"load", "--target", gate.target, "--dsn", gate.dsn, "--first", benchNumber(0), "--connections", "2", "--requests", "40", "--quiet"}, &out, &errs)
		if code != exitOK {
			t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
		}
	})
	t.Run("nothing but refusals", func(t *testing.T) {
		if r, code := gate.run(t, "--requests", "100", "--rating-group", "4711"); code != exitRefused || r.Refusal == "" {
			t.Errorf("exit %d: %+v", code, r.Report)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, stop)
		var out, errs bytes.Buffer
		code := execute(ctx, []string{"load", "--json", "--target", gate.target, "--dsn", gate.dsn, "--first", benchNumber(0), "--requests", "100000000", "--quiet"}, &out, &errs)
		if code != exitInterrupted || !strings.Contains(out.String(), `"interrupted": true`) || !strings.Contains(errs.String(), "of 100000000 requests") {
			t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
		}
	})
	t.Run("a host that is not let in", func(t *testing.T) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"load", "--target", gate.target, "--dsn", gate.dsn, "--origin-host", "stranger.example", "--first", benchNumber(0)}, &out, &errs)
		if code != exitUnreachable || !strings.Contains(errs.String(), `- {host: stranger.example, addresses: ["127.0.0.1/32"]}`) {
			t.Errorf("exit %d: %s", code, errs.String())
		}
	})
}

// TestLoadFindsWrongBooks: money that nobody was told of is noticed.
func TestLoadFindsWrongBooks(t *testing.T) {
	b := &loadBooks{Debited: 2, Answered: 1, lost: 3}
	if b.err() == nil {
		t.Error("a difference is no fault")
	}
	var out bytes.Buffer
	if err := b.write(&out); err != nil || !strings.Contains(out.String(), "DIFFER by 0.000001; 3 answers were lost") {
		t.Errorf("%v %s", err, out.String())
	}
}

// TestLoadRefusesNonsense before it does anything: each names its flag.
func TestLoadRefusesNonsense(t *testing.T) {
	for _, args := range []string{
		"--subscribers 0", "--connections 0", "--mode calls", "--pick none", "--balance abc --prepare", "--balance -1.00 --prepare",
		"--target nowhere", "--dup 2", "--warmup -1s", "--duration -1s", "--requests -1", "--first tel", "--called +49", "--sessions -1",
	} {
		var out, errs bytes.Buffer
		code := execute(t.Context(), append([]string{"load"}, strings.Fields(args)...), &out, &errs)
		if flag, _, _ := strings.Cut(args, " "); code != exitUsage || !strings.Contains(errs.String(), flag) {
			t.Errorf("%s: exit %d: %s", args, code, errs.String())
		}
	}
}

func TestLoadFindsItsTarget(t *testing.T) {
	for listen, want := range map[string]string{
		"": "127.0.0.1:3868", "0.0.0.0:3869": "127.0.0.1:3869", ":1": "127.0.0.1:1", "[::]:2": "127.0.0.1:2", "192.0.2.1:3868": "192.0.2.1:3868",
	} {
		if got := ownTarget(strings.Fields(listen)); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

// TestLoadRemedies: each cause has its own.
func TestLoadRemedies(t *testing.T) {
	l := &load.Config{Host: "tas.example", Connections: 1}
	for _, c := range []struct {
		fault load.ConnectError
		want  string
	}{
		{load.ConnectError{}, "--target"},
		{load.ConnectError{Local: "::1"}, "no Diameter"},
		{load.ConnectError{Local: "192.0.2.1", Code: diameter.UnknownPeer}, `addresses: ["192.0.2.1/32"]`},
		{load.ConnectError{Local: "::1", Code: diameter.ElectionLost}, "--origin-host"},
	} {
		c.fault.Err = errors.New("no")
		if err := loadUnreached(&c.fault, l); codeOf(err) != exitUnreachable || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v lacks %s", err, c.want)
		}
	}
}
