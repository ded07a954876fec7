package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/ocs"
)

// run loads and expects that there was a load.
func run(t *testing.T, cfg Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answering answers each request as the script says: nil for no answer.
func answering(t *testing.T, script func(m diameter.Message) *gy.CCA) string {
	var mu sync.Mutex
	return scripted(t, func(w io.Writer, m diameter.Message) {
		mu.Lock()
		a := script(m)
		mu.Unlock()
		if a != nil {
			_, _ = w.Write(a.Append(nil, m, peerOrigin))
		}
	})
}

func generous(m diameter.Message) *gy.CCA { return granting(kindOf(m), 60) }

func TestTemplateIsWhatTheCodecWrites(t *testing.T) {
	began := time.Now()
	for p := range phase(phases) {
		for _, commandLevel := range []bool{false, true} {
			cfg := testConfig("")
			cfg.CommandLevel = commandLevel
			cfg = cfg.withDefaults()
			tmpl, err := newTemplate(&cfg, cfg.local(0), began, p)
			if err != nil {
				t.Fatal(err)
			}
			r := request{hop: 1, end: 2, session: 1_234_567_890, number: 3, subscriber: 493000000042, stamp: ntpSeconds(began) + 5, repeat: true}
			frame := tmpl.append([]byte("before"), &r)[len("before"):]
			m, fault := diameter.ParseMessage(frame)
			if fault != nil {
				t.Fatal(fault)
			}
			ccr, wrong := gy.ParseCCR(m)
			if wrong != nil {
				t.Fatal(wrong)
			}
			if !strings.HasSuffix(ccr.SessionID, ";1234567890") || ccr.Number != 3 || ccr.Type != stepTypes[p] ||
				ccr.Payer[0].Data != "493000000042" || ccr.Call.IMS.CallingParty != "tel:+493000000042" || ccr.Call.IMS.ChargingID != ccr.SessionID ||
				ccr.EventTimestamp.Unix() != began.Unix()+5 {
				t.Errorf("phase %d: %+v", p, ccr)
			}
			if again := ccr.Append(nil, m.Header); !bytes.Equal(again, frame) {
				t.Errorf("phase %d: the codec writes\n%x instead of\n%x", p, again, frame)
			}
		}
	}
}

func TestSessionsRunTheirCourse(t *testing.T) {
	var mu sync.Mutex
	requests := map[string][]ocs.StepType{}
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		id, _ := m.Find(diameter.SessionID)
		mu.Lock()
		defer mu.Unlock()
		requests[id.Text()] = append(requests[id.Text()], kindOf(m))
		return generous(m)
	}))
	cfg.Connections = 3
	r := run(t, cfg)
	if r.Answered != 400 || r.Sessions != 100 || r.Finished != 100 || r.Lost != 0 || r.Codes["2001"] != 400 || r.Err() != nil {
		t.Errorf("%+v", r)
	}
	if want := 100 * 60 * ocs.MoneyScale / 100; r.Cost != want {
		t.Errorf("cost %s, want %s", r.Cost, want)
	}
	for id, kinds := range requests {
		if len(kinds) != 4 || kinds[0] != ocs.Initial || kinds[1] != ocs.Update || kinds[2] != ocs.Update || kinds[3] != ocs.Terminate {
			t.Errorf("session %s: %v", id, kinds)
		}
	}
}

func TestRefusalsEndSessions(t *testing.T) {
	for _, c := range []struct {
		refused  ocs.StepType
		requests int64 // of each session
		begun    int64 // sessions refused
	}{{ocs.Initial, 1, 100}, {ocs.Update, 3, 0}} {
		cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
			if kindOf(m) == c.refused {
				return &gy.CCA{ResultCode: diameter.CreditLimitReached, Type: kindOf(m)}
			}
			return generous(m)
		}))
		r := run(t, cfg)
		if r.Sessions != 100 || r.Answered != 100*c.requests || r.Refused != c.begun || r.Codes["4012"] != 100 || (r.Err() != nil) != (c.begun == 100) {
			t.Errorf("refusing type %d: %+v", c.refused, r)
		}
	}
}

// TestALoadOfRefusalsFails: it names the commonest one with what the server says to it.
func TestALoadOfRefusalsFails(t *testing.T) {
	n := 0
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		if n++; n%10 == 0 {
			return &gy.CCA{ResultCode: diameter.TooBusy, Type: kindOf(m)}
		}
		return &gy.CCA{ResultCode: diameter.RatingFailed, Type: kindOf(m), ErrorMessage: "rating.none"}
	}))
	cfg.Mode, cfg.Requests = Opening, 100
	r := run(t, cfg)
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), `90 times Result-Code 5031 DIAMETER_RATING_FAILED, "rating.none"`) {
		t.Errorf("%v: %+v", err, r)
	}
	if r.Refused != 100 || r.Finished != 0 || r.Granted != 0 || r.Rate == 0 {
		t.Errorf("%+v", r)
	}
}

// TestAServiceRefusedWithinASuccess is a refusal, too.
func TestAServiceRefusedWithinASuccess(t *testing.T) {
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		return &gy.CCA{ResultCode: diameter.Success, Type: kindOf(m), Services: []gy.ServiceAnswer{{ResultCode: diameter.CreditLimitReached}}}
	}))
	if r := run(t, cfg); r.Codes["4012"] != 400 || r.Granted != 0 || r.Err() == nil {
		t.Errorf("%+v", r)
	}
}

func TestWhyThereIsNoConnection(t *testing.T) {
	cfg := testConfig("127.0.0.1:1")
	var fault *ConnectError
	if err := Probe(t.Context(), cfg); !errors.As(err, &fault) || fault.Code != 0 || fault.Local != "" {
		t.Errorf("%v", err)
	}
	cfg = testConfig(answering(t, generous))
	cfg.Connections = 2
	if err := Probe(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

func TestAnUnansweredRequestIsLost(t *testing.T) {
	n := 0
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		if n++; n%10 == 0 {
			return nil
		}
		return generous(m)
	}))
	r := run(t, cfg)
	if r.Lost == 0 || r.Lost+r.Answered != r.Sent || r.Sessions != 100 || r.Err() == nil {
		t.Errorf("%+v", r)
	}
}

func TestASilentPeerDoesNotHangIt(t *testing.T) {
	cfg := testConfig(answering(t, func(diameter.Message) *gy.CCA { return nil }))
	cfg.Requests, cfg.Duration = 0, 100*time.Millisecond
	began := time.Now()
	if r := run(t, cfg); r.Lost != 8 || r.Answered != 0 {
		t.Errorf("%+v", r)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestALateAnswerBelongsToNobody(t *testing.T) {
	var late []func()
	cfg := testConfig(scripted(t, func(w io.Writer, m diameter.Message) {
		send := func() { _, _ = w.Write(generous(m).Append(nil, m, peerOrigin)) }
		if late = append(late, send); len(late) <= 8 {
			return // the first eight are answered when they are given up
		}
		for _, one := range late[:min(8, len(late))] {
			one()
		}
		late = append(late[:0], make([]func(), 9)...)[:8]
		for i := range late {
			late[i] = func() {}
		}
		send()
	}))
	if r := run(t, cfg); r.Lost != 8 || r.Stray != 8 || r.Finished != 92 {
		t.Errorf("%+v", r)
	}
}

func TestALostConnectionIsReported(t *testing.T) {
	n := 0
	cfg := testConfig(scripted(t, func(w io.Writer, m diameter.Message) {
		if n++; n == 50 {
			_ = w.(io.Closer).Close()
			return
		}
		_, _ = w.Write(generous(m).Append(nil, m, peerOrigin))
	}))
	if r := run(t, cfg); len(r.Failures) != 1 || r.Lost == 0 || r.Err() == nil {
		t.Errorf("%+v", r)
	}
}

func TestGarbageEndsTheConnection(t *testing.T) {
	cfg := testConfig(scripted(t, func(w io.Writer, _ diameter.Message) { _, _ = w.Write(make([]byte, 64)) }))
	if r := run(t, cfg); len(r.Failures) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRepeatsMustBeAnsweredAlike(t *testing.T) {
	for _, c := range []struct {
		name      string
		repeat    func(m diameter.Message) *gy.CCA
		differing bool
	}{
		{"the same", generous, false},
		{"another grant", func(m diameter.Message) *gy.CCA { return granting(kindOf(m), 30) }, true},
		{"another code", func(m diameter.Message) *gy.CCA {
			return &gy.CCA{ResultCode: diameter.UnknownSessionID, Type: kindOf(m)}
		}, true},
		{"not carried out", func(m diameter.Message) *gy.CCA {
			return &gy.CCA{ResultCode: diameter.UnableToDeliver, Type: kindOf(m)}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			repeats := int64(0)
			cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
				if m.Flags&diameter.FlagRetransmit == 0 {
					return generous(m)
				}
				repeats++
				return c.repeat(m)
			}))
			cfg.Repeats = 0.3
			r := run(t, cfg)
			if r.Repeats == 0 || r.Repeats != repeats || r.Answered != 400 || r.Lost != 0 || (r.Differing == repeats) != c.differing || (r.Err() != nil) != c.differing {
				t.Errorf("%d repeats: %+v", repeats, r)
			}
			if want := 100 * 60 * ocs.MoneyScale / 100; r.Cost != want {
				t.Errorf("cost %s, want %s: a repeat costs nothing", r.Cost, want)
			}
		})
	}
}

// TestOpenLoopCountsFromTheSchedule: a peer that stalls for half a second at the start
// is charged for all events that were due meanwhile, although only a few were sent.
func TestOpenLoopCountsFromTheSchedule(t *testing.T) {
	const stall = 500 * time.Millisecond
	var once sync.Once
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		once.Do(func() { time.Sleep(stall) })
		return generous(m)
	}))
	cfg.Mode, cfg.Rate, cfg.InFlight, cfg.Requests, cfg.Duration, cfg.Timeout = Events, 1000, 4, 0, time.Second, 5*time.Second
	r := run(t, cfg)
	if r.Answered < 990 || r.Answered > 1001 || r.Unsent != 0 {
		t.Errorf("answered %d of 1000 that were due", r.Answered)
	}
	// About half of the events were due in the stall; the first of them waited for all
	// of it. Counted from when they were sent, only four would be slow.
	if r.Latency.P90 < 250 || r.Latency.Max < 490 {
		t.Errorf("latency %+v hides the stall", r.Latency)
	}
}

func TestTheEndOfTheContextEndsItInOrder(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	cfg := testConfig(answering(t, func(m diameter.Message) *gy.CCA {
		if n++; n == 1000 {
			stop()
		}
		return generous(m)
	}))
	cfg.Requests, cfg.Duration = 0, time.Hour
	r, err := Run(ctx, cfg)
	if err != nil || r.Lost != 0 || r.Finished != r.Sessions || r.Err() != nil || !r.Interrupted || !strings.HasSuffix(r.Reached, " of 1h0m0s") {
		t.Errorf("%+v %v", r, err)
	}
}

func TestAskedByTheServer(t *testing.T) {
	n := 0
	cfg := testConfig(scripted(t, func(w io.Writer, m diameter.Message) {
		if n++; n == 10 {
			_, _ = w.Write(diameter.Finish(startBase(diameter.CmdDeviceWatchdog, peerOrigin), 0))
			_, _ = w.Write(diameter.Finish(startBase(diameter.CmdReAuth, peerOrigin), 0))
		}
		if m.Request() {
			_, _ = w.Write(generous(m).Append(nil, m, peerOrigin))
		}
	}))
	if r := run(t, cfg); r.Err() != nil || r.Answered != 400 {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheck(t *testing.T) {
	cfg := testConfig("127.0.0.1:1")
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"number":      func(c *Config) { c.First = "tel" },
		"too many":    func(c *Config) { c.First, c.Subscribers = "999", 2 },
		"mode":        func(c *Config) { c.Mode = "calls" },
		"pick":        func(c *Config) { c.Pick = "none" },
		"in flight":   func(c *Config) { c.InFlight = SessionsMax },
		"connections": func(c *Config) { c.Connections = ConnectionsMax + 1 },
		"repeats":     func(c *Config) { c.Repeats = 2 },
		"warm-up":     func(c *Config) { c.Warmup = time.Hour },
		"event":       func(c *Config) { c.Mode, c.Seconds = Events, 0 },
	} {
		broken := cfg
		change(&broken)
		if broken.Check() == nil {
			t.Errorf("%s: no fault found", name)
		}
	}
	if host := cfg.HostOf(1); host != "tas-2.example" {
		t.Errorf("second host %s", host)
	}
}
