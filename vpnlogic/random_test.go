package vpnlogic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestRandomCalls drives the machine through calls that no transcript thought of
// and holds it to what must be true of every call (C-030, C-031, C-035, C-055,
// C-061, C-063). A failure names the seed that repeats it.
func TestRandomCalls(t *testing.T) {
	proves(t, "C-030", "C-031", "C-035", "C-061", "C-063")
	const calls = 5_000
	for seed := range uint64(calls) {
		c := newRandomCall(seed)
		if fault := c.play(); fault != "" {
			t.Fatalf("seed %d: %s\n%s", seed, fault, strings.Join(c.log, "\n"))
		}
	}
}

// randomCall is a call under test and what it has done so far.
type randomCall struct {
	draw      *rand.Rand
	machine   *machine
	now       time.Time
	log       []string
	onFailure FailureHandling

	flying    *ChargeRequest           // with the server
	last      *ChargeRequest           // the last one sent
	used      time.Duration            // in all requests, each counted once
	allowed   time.Duration            // talk time the server has granted
	open      bool                     // a grant was given, and no answer has ended the session
	metered   bool                     // every answer so far put the call under a quota
	asked     int                      // questions of the charging system
	givenUp   bool                     // a report was never answered
	promised  bool                     // a report was promised, and is not out yet
	byGroup   map[uint32]time.Duration // the use, by rating group
	truth     map[uint32]time.Duration // talk time, by rating group
	group     uint32                   // of who is connected
	connected int
	released  int
	record    *CallRecord
	fault     string
}

func newRandomCall(seed uint64) *randomCall {
	c := &randomCall{
		draw: rand.New(rand.NewPCG(seed, 0)), now: start, metered: true,
		byGroup: make(map[uint32]time.Duration), truth: make(map[uint32]time.Duration), group: RatingOnNet,
	}
	c.onFailure = FailureHandling(c.draw.IntN(3))
	c.machine = newMachine("record", attempt, limits{callMax: 10 * time.Minute, setUpMax: 3 * time.Minute, requestLife: 2 * time.Minute})
	return c
}

// eventsPlayed is enough for any call to be over; after callerHangsUp of them the
// caller has had enough.
const (
	eventsPlayed  = 400
	callerHangsUp = 60
)

func (c *randomCall) play() string {
	c.step(setUp{})
	c.step(screenOK{route: Route{Prepaid: true, Payer: "8613800000001", RatingGroup: RatingOnNet, Class: OnNet}, session: "s", charging: ChargingPrepaid})
	for n := 0; n < eventsPlayed && c.record == nil && c.fault == ""; n++ {
		if n == callerHangsUp {
			c.step(disconnect{by: PartyCaller})
			continue
		}
		c.next()
	}
	if c.fault == "" {
		c.fault = c.verdict()
	}
	return c.fault
}

// next lets some time pass, to the next deadline at the most, and something happen.
func (c *randomCall) next() {
	passed := time.Duration(c.draw.Int64N(int64(20 * time.Second)))
	deadline := c.machine.timers.next()
	if !deadline.IsZero() && !c.now.Add(passed).Before(deadline) {
		if deadline.After(c.now) { // else the machine set one that has passed already
			c.now = deadline
		}
		c.step(tick{})
		return
	}
	c.now = c.now.Add(passed)
	switch n := c.draw.IntN(14); {
	case n < 7 && c.flying != nil:
		c.answer()
	case n == 7 && c.connected > 0:
		c.step(ringing{180})
	case n <= 9 && c.connected > 0:
		c.step(answered{})
	case n == 12 && c.draw.IntN(2) == 0:
		c.step(reauthorize{})
	case n == 12 && c.draw.IntN(20) == 0:
		c.step(abort{})
	case n == 13 && c.connected > 0 && c.released == 0 && len(c.machine.changes) < changesMax:
		c.transfer()
	case n == 10 && c.draw.IntN(4) == 0:
		c.step(disconnect{by: PartyCalled})
	case n == 11 && c.draw.IntN(8) == 0:
		c.step(disconnect{by: PartyCaller})
	}
}

// transfer connects the caller to somebody else. In this test every one of them is at
// another price when the class is.
func (c *randomCall) transfer() {
	class := []CallClass{OnNet, OffNet, International}[c.draw.IntN(3)]
	c.account()
	c.group = class.RatingGroup()
	c.step(connectedTo{party{E164(fmt.Sprint("86100000000", c.draw.IntN(10))), class, c.group}})
}

// account adds the talk time since the last change to the group's, in the seconds
// that a report at this moment would name.
func (c *randomCall) account() {
	if c.machine.answeredAt.IsZero() || c.released > 0 {
		return
	}
	total := time.Duration(0)
	for _, d := range c.truth {
		total += d
	}
	c.truth[c.group] += wholeSeconds(c.now.Sub(c.machine.answeredAt)) - total
}

// answer has the server answer the request in flight, or not.
func (c *randomCall) answer() {
	r := c.flying
	a := ChargeAnswer{OnFailure: c.onFailure}
	switch n := c.draw.IntN(20); {
	case n < 13:
		a.SessionOpen = r.Type != ChargeTerminate
		a.Grant = Grant{
			Time:      time.Duration(c.draw.IntN(60)) * time.Second,
			Threshold: time.Duration(c.draw.IntN(3)*5) * time.Second,
			ValidFor:  time.Duration(c.draw.IntN(2)*30) * time.Second,
			Final:     c.draw.IntN(5) == 0,
		}
		if c.draw.IntN(4) == 0 {
			a.Grant.SwitchAt = c.now.Add(time.Duration(c.draw.IntN(60)) * time.Second)
		}
	case n < 17:
		c.givenUp = true
		a.Result, a.SessionOpen = ChargeUnreachable, r.Type != ChargeInitial || c.draw.IntN(2) == 0
	default:
		a.Result = []ChargeResult{ChargeFree, ChargeRefused, ChargeNoCredit, ChargeFailed}[c.draw.IntN(4)]
		a.SessionOpen = a.Result == ChargeNoCredit && r.Type == ChargeUpdate
	}
	switch {
	case a.Result == ChargeGranted && r.Type != ChargeTerminate:
		c.open = true
		// A grant that is talked away when it comes does not shorten the one
		// before it: that one's end still cuts off.
		if end := c.used + a.Grant.Time; a.Grant.Time > 0 && c.released == 0 && end-lead > c.machine.talk(c.now) {
			c.allowed = end
		}
	case a.Result == ChargeFree, a.OnFailure != FailTerminate:
		c.metered = false // it may run on without a quota
	}
	if a.Result != ChargeGranted && a.Result != ChargeUnreachable && !a.SessionOpen {
		c.open = false
	}
	c.flying = nil
	c.step(charged{a})
}

func (c *randomCall) step(e event) {
	c.log = append(c.log, fmt.Sprintf("%8s %T%+v", c.now.Sub(start), e, e))
	for _, a := range c.machine.step(c.now, e) {
		c.log = append(c.log, fmt.Sprintf("         → %T", a))
		c.note(a)
	}
}

func (c *randomCall) note(a action) {
	switch a := a.(type) {
	case connectLeg:
		c.connected++
		c.must(c.connected == 1 && c.released == 0, "connected twice, or after the release")
	case releaseLeg:
		c.account()
		c.released++
		c.must(c.released == 1, "released twice")
	case answerReauth:
		c.asked++
		c.must(!c.promised, "two promises of one report")
		c.promised = a.Reauthorization == ReauthWillReport
		c.must(!c.promised || c.flying == nil, "a report is promised beside one in flight (C-071)")
	case answerAbort:
		c.asked++
	case sendRequest:
		c.must(!c.promised || a.Report == ReportForced, "the promised report is another one (C-070)")
		c.promised = false
		c.sent(a.ChargeRequest)
	case finish:
		c.must(c.record == nil, "two records")
		c.record = &a.CallRecord
	}
}

// sent holds a request against the one before it.
func (c *randomCall) sent(r ChargeRequest) {
	c.must(c.flying == nil, "two requests in flight (C-031)")
	switch {
	case r.Repeat:
		again := *c.last
		again.Repeat = true
		c.must(again == r, "a repeat differs from what it repeats (C-015)")
	case c.last == nil:
		c.must(r.Type == ChargeInitial && r.Number == 0, "the first request is no CCR-I #0")
	default:
		c.must(r.Type != ChargeInitial && c.last.Type != ChargeTerminate && r.Number == c.last.Number+1, "requests out of order (C-030)")
	}
	if !r.Repeat {
		c.used += r.Used
		c.byGroup[r.RatingGroup] += r.Used
	}
	c.must(r.UsedAfter >= 0 && r.UsedAfter <= r.Used && (r.Split || r.UsedAfter == 0), "use after the tariff switch out of bounds (C-033)")
	c.must(r.WantMore == (r.Type != ChargeTerminate && (c.released == 0 || r.Repeat && c.last.WantMore)), "quota wanted when none is, or none when it is (C-036)")
	c.must(r.Used%time.Second == 0 && r.Used >= 0, "usage is not in whole seconds")
	c.flying, c.last = &r, &r
}

// verdict is what must be true of a call that is over.
func (c *randomCall) verdict() string {
	if c.record == nil {
		return "the call never ends"
	}
	c.must(c.released == 1, "not released")
	c.must(!c.promised, "a promised report never went out (C-070)")
	terminated := c.last.Type == ChargeTerminate
	for group, talked := range c.truth {
		c.must(!terminated || c.givenUp || c.byGroup[group] == talked, fmt.Sprintf("reported %v of %v of group %d (C-064)", c.byGroup[group], talked, group))
	}
	c.must(terminated || !c.open, "the server's session is left open (C-063)")
	if terminated {
		c.must(c.used == wholeSeconds(c.record.Talked), fmt.Sprintf("reported %v of %v (C-035, C-061)", c.used, c.record.Talked))
	}
	c.must(!c.metered || c.record.Talked <= c.allowed, fmt.Sprintf("talked %v, granted %v (C-055)", c.record.Talked, c.allowed))
	return c.fault
}

func (c *randomCall) must(ok bool, fault string) {
	if !ok && c.fault == "" {
		c.fault = fault
	}
}
