package sipgw

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// Session timers, RFC 4028. The gateway sits between two dialogs, so it runs a
// timer on each. It is the refresher wherever the peer leaves it the choice:
// then a dead peer shows itself by not answering, at half the interval. Where
// the peer refreshes, its silence shows at the end of it.
const (
	sessionHeader = "Session-Expires"
	minSEHeader   = "Min-SE"
	// The spans out of which the wait after a 491 is drawn, in steps of 10 ms: the
	// owner of the Call-ID waits longer, so that two who met do not meet again
	// (RFC 3261 §14.1).
	ownerWaitMin = 2100 * time.Millisecond
	ownerWaitMax = 4 * time.Second
	otherWaitMax = 2 * time.Second
	waitStep     = 10 * time.Millisecond
	// sessionMax bounds the interval a peer may talk us into, since it bounds
	// what a lost BYE can cost.
	sessionMax = 30 * time.Minute
)

// session is the timer state of one dialog.
type session struct {
	interval  time.Duration
	refresher bool // we refresh
	due       alarm
}

// sessionExpires is a Session-Expires header: seconds and who refreshes.
type sessionExpires struct {
	interval  time.Duration
	refresher string // "uac", "uas" or ""
}

func (s sessionExpires) header() sip.Header {
	value := strconv.Itoa(int(s.interval / time.Second))
	if s.refresher != "" {
		value += ";refresher=" + s.refresher
	}
	return sip.NewHeader(sessionHeader, value)
}

// readSessionExpires reads the header; ok is false when there is none.
func readSessionExpires(msg sip.Message) (s sessionExpires, ok bool) {
	value := headerValue(msg, sessionHeader)
	if value == "" {
		value = headerValue(msg, "x") // compact form, RFC 4028 §4
	}
	seconds, params, _ := strings.Cut(value, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31)
	if err != nil {
		return s, false
	}
	s.interval = time.Duration(n) * time.Second
	for param := range strings.SplitSeq(params, ";") {
		name, who, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "refresher") {
			s.refresher = strings.ToLower(who)
		}
	}
	return s, true
}

func readMinSE(msg sip.Message) time.Duration {
	seconds, _, _ := strings.Cut(headerValue(msg, minSEHeader), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// tooBrief says whether a request asks for a shorter session than allowed; it
// is answered 422 with Min-SE (RFC 4028 §9). A proxy's wish on behalf of a
// caller without timers is not refused, for he could not comply.
func (c *Config) tooBrief(req *sip.Request) bool {
	wanted, ok := readSessionExpires(req)
	return ok && wanted.interval < c.MinSE && listed(req, "Supported", "k", "timer")
}

// askSession puts our wish for session timers into a request that may carry
// it. In a re-INVITE or UPDATE the roles stay as they are (RFC 4028 §7.4).
func (d *dialog) askSession(req *sip.Request, interval time.Duration) {
	asked := sessionExpires{interval: interval, refresher: "uac"}
	if d.session.interval > 0 && !d.session.refresher {
		asked.refresher = "uas"
	}
	req.AppendHeader(asked.header())
	minimum := min(d.bridge.gw.cfg.MinSE, interval)
	req.AppendHeader(sip.NewHeader(minSEHeader, strconv.Itoa(int(minimum/time.Second))))
}

// grantSession settles the timer as the answering side (RFC 4028 §9, table 2)
// and says so in the 2xx. Without the caller's support we refresh alone.
func (d *dialog) grantSession(req *sip.Request, res *sip.Response) {
	cfg := &d.bridge.gw.cfg
	interval := max(cfg.SessionExpires, min(readMinSE(req), sessionMax))
	granted := sessionExpires{interval: interval, refresher: "uas"}
	supported := listed(req, "Supported", "k", "timer")
	if wanted, ok := readSessionExpires(req); ok {
		granted.interval = max(min(wanted.interval, interval), cfg.MinSE)
		if supported && wanted.refresher == "uac" {
			granted.refresher = "uac"
		}
	}
	if supported {
		res.AppendHeader(granted.header())
		if granted.refresher == "uac" {
			res.AppendHeader(sip.NewHeader("Require", "timer"))
		}
	}
	d.session.start(granted.interval, granted.refresher == "uas")
}

// settleSession settles the timer as the asking side (RFC 4028 §7.2). A peer
// that answers without Session-Expires has no timer: we refresh alone.
func (d *dialog) settleSession(res *sip.Response, asked time.Duration) {
	granted, ok := readSessionExpires(res)
	if !ok || granted.interval <= 0 {
		d.session.start(asked, true)
		return
	}
	interval := max(min(granted.interval, sessionMax), d.bridge.gw.cfg.MinSE)
	d.session.start(interval, granted.refresher != "uas")
}

// start runs the timer anew: to the refresh at half the interval, or to the
// moment the peer's refresh is overdue, which is 32 s before the end or a
// third of the interval, whichever is less (RFC 4028 §10).
func (s *session) start(interval time.Duration, refresher bool) {
	s.interval, s.refresher = interval, refresher
	if refresher {
		s.due.set(interval / 2)
		return
	}
	s.due.set(interval - min(32*time.Second, interval/3))
}

// glareWait is how long a refresh waits that met a transaction of the peer (RFC 3261
// §14.1). The Call-ID of the called leg is ours.
func (d *dialog) glareWait() time.Duration {
	if d.party == vpnlogic.PartyCalled {
		return ownerWaitMin + randomWait(ownerWaitMax-ownerWaitMin)
	}
	return randomWait(otherWaitMax)
}

// randomWait is a random time up to most, in steps.
func randomWait(most time.Duration) time.Duration {
	return rand.N(most/waitStep+1) * waitStep
}

// alarm is a timer that can be waited for in a select whether it is set or not.
type alarm struct{ timer *time.Timer }

func (a *alarm) set(d time.Duration) {
	if a.timer == nil {
		a.timer = time.NewTimer(d)
		return
	}
	a.timer.Reset(d)
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// C is nil, on which a select waits forever, when the alarm was never set.
func (a *alarm) C() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}
