package suite

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// Figures are times that some rows name, measured on the clock of the wall. They
// are reported, not judged: a busy machine proves nothing. The deadlines
// themselves are proven elsewhere, on a clock of the tests'.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Attr("figure", fmt.Sprintf(format, args...))
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// the watchdog is answered while a thousand requests are under way.
func TestFigureWatchdogUnderLoad(t *testing.T) {
	if stock {
		return // has nothing to charge with
	}
	g := startGygate(t, 100_000, change{})
	c := connect(t, g.address, as)
	const requests = 1000
	for i := range requests {
		s := c.session(fmt.Sprintf("figure%d", i), voice)
		s.send(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	}
	began := time.Now()
	c.send(0, diameter.CmdDeviceWatchdog, diameter.AppBase, c.base()...)
	var took time.Duration
	for range requests + 1 {
		m := c.read()
		if m.Command == diameter.CmdDeviceWatchdog {
			took = time.Since(began)
		}
		expectCode(t, m, diameter.Success)
	}
	figure(t, "A-080 DWA behind %d CCR just sent: %v (the row: below 100 ms)", requests, rounded(took))
}

// what finds no room is refused at once. The account is held by its locks, so
// that everything queues.
func TestFigureOverload(t *testing.T) {
	if stock {
		return
	}
	g := startGygate(t, 100_000, change{})
	c := connect(t, g.address, as)
	tx, err := g.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) // after a failure; else it is done already
	for _, table := range []string{"account", "balance"} {
		if _, err := tx.Exec(t.Context(), "select from "+table+" for update"); err != nil {
			t.Fatal(err)
		}
	}
	// More than any queue holds: what is in the lane, before it and before the resolver.
	const requests = 3 * ocs.QueueMaxDefault
	for i := range requests {
		s := c.session(fmt.Sprintf("full%d", i), voice)
		s.send(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	}
	began := time.Now()
	expectCode(t, c.read(), diameter.UnableToDeliver) // while all that has room still waits
	took := time.Since(began)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := 1
	for range requests - 1 {
		if c.read().ResultCode() == diameter.UnableToDeliver {
			refused++
		}
	}
	figure(t, "A-063 first of %d refusals among %d CCR-I: %v after the last was sent (the row: within 200 ms)", refused, requests, rounded(took))
}

// B-155: a database that is away is told as 3002.
func TestFigureDatabaseAway(t *testing.T) {
	if stock {
		return
	}
	g := startGygate(t, 1000, change{})
	c := connect(t, g.address, as)
	s := c.session("away", voice)
	restore := g.cutDatabase()
	began := time.Now()
	m := s.exchange(initial, payer, u32(diameter.MultipleServicesIndicator, 1), mscc(rsu(), rg(100)))
	took := time.Since(began)
	restore()
	expectCode(t, m, diameter.UnableToDeliver)
	figure(t, "B-155 3002 with the database away: %v (the row: within 3 s)", rounded(took))
}

// C-055: calls are released at the end of their final units, never after it.
func TestFigureFinalCutOff(t *testing.T) {
	if stock {
		return
	}
	const calls, granted = 100, 2 * time.Second
	directory, err := vpnlogic.NewDirectory(
		[]vpnlogic.Group{{ID: "7001", CountryCode: "86", ShortDigits: 4}},
		[]vpnlogic.Member{
			{Number: "8613800000001", Group: "7001", Short: "6001", Prepaid: true},
			{Number: "8613800000002", Group: "7001", Short: "6002"},
		}, nil)
	if err != nil {
		t.Fatal(err)
	}
	service := vpnlogic.NewService(vpnlogic.ServiceConfig{Directory: func() *vpnlogic.Directory { return directory }, Charger: finalUnits{granted}})
	legs := make([]*timedLeg, calls)
	for i := range legs {
		legs[i] = &timedLeg{connected: make(chan struct{}), released: make(chan time.Time, 1)}
		call, cause := service.Begin(t.Context(), vpnlogic.Attempt{CallID: fmt.Sprint("call ", i), Calling: "+8613800000001", Dialled: "6002"}, legs[i])
		if cause != nil {
			t.Fatal(cause)
		}
		<-legs[i].connected
		legs[i].answeredAt = time.Now()
		call.Answered(legs[i].answeredAt)
	}
	least, most := time.Hour, time.Duration(0)
	for _, leg := range legs {
		talked := (<-leg.released).Sub(leg.answeredAt)
		least, most = min(least, talked), max(most, talked)
	}
	if err := service.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	figure(t, "C-055 %d calls with %v of final units talked %v to %v (the row: not later, at most 200 ms earlier)", calls, granted, rounded(least), rounded(most))
}

// finalUnits is a charging system that grants once.
type finalUnits struct{ granted time.Duration }

func (f finalUnits) NewSession(context.Context) string { return time.Now().String() }

func (f finalUnits) Charge(_ context.Context, r vpnlogic.ChargeRequest) vpnlogic.ChargeAnswer {
	a := vpnlogic.ChargeAnswer{Result: vpnlogic.ChargeGranted, Code: uint32(diameter.Success), SessionOpen: r.Type == vpnlogic.ChargeInitial}
	if r.Type == vpnlogic.ChargeInitial {
		a.Grant = vpnlogic.Grant{Time: f.granted, Final: true}
	}
	return a
}

// timedLeg tells when the call is released.
type timedLeg struct {
	connected  chan struct{}
	once       sync.Once
	answeredAt time.Time
	released   chan time.Time
}

func (l *timedLeg) Connect(vpnlogic.Destination) { l.once.Do(func() { close(l.connected) }) }
func (l *timedLeg) Release(vpnlogic.Cause)       { l.released <- time.Now() }
