package phone

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Behaviour is how a line treats a call.
type Behaviour struct {
	Ring        time.Duration // time from 180 to the answer or refusal
	Refuse      int           // final status instead of an answer, such as 486; 0: answer
	NoAnswer    bool          // ring until the caller gives up
	EarlyMedia  bool          // 183 with a session description instead of 180
	HangUpAfter time.Duration // hang up so long after the answer; 0: leave it to the caller
}

// callsKept bounds the calls an Answerer remembers; the oldest go first.
const callsKept = 1000

// AnswererConfig describes an Answerer.
type AnswererConfig struct {
	Network string               // "udp" (default) or "tcp"
	Listen  string               // address, default 127.0.0.1:0
	Default Behaviour            // of numbers not listed
	Numbers map[string]Behaviour // by the user part of the Request-URI, without '+'
	// OnChange, if set, is told each change of a call: it came, was answered,
	// ended. It must not block.
	OnChange func(Call)
}

// Call is what an Answerer noted of a call.
type Call struct {
	CallID     string
	Number     string // user part of the Request-URI
	Caller     string // user part of From: the presented number
	Asserted   string // P-Asserted-Identity, "" when absent
	Headers    map[string]string
	Session    string // the offered session description
	InviteAt   time.Time
	AnsweredAt time.Time // zero: not answered
	EndedAt    time.Time // zero: not ended
	Status     int       // final status given, 487 when cancelled
	HungUp     Side      // who ended an answered call
	Reason     string    // Reason header of the caller's BYE
}

// Answerer takes calls, each line in its own way.
type Answerer struct {
	config  AnswererConfig
	station *station
	dialogs *sipgo.DialogServerCache
	closed  chan struct{}
	taking  sync.WaitGroup
	closing sync.Once

	mu        sync.Mutex
	behaviour map[string]Behaviour
	calls     []*Call
}

// NewAnswerer listens and takes calls until Close.
func NewAnswerer(config AnswererConfig) (*Answerer, error) {
	if config.Network == "" {
		config.Network = "udp"
	}
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	s, err := newStation(config.Network, config.Listen)
	if err != nil {
		return nil, err
	}
	a := &Answerer{config: config, station: s, closed: make(chan struct{}), behaviour: make(map[string]Behaviour)}
	for number, b := range config.Numbers {
		a.behaviour[plain(number)] = b
	}
	a.dialogs = sipgo.NewDialogServerCache(s.client, s.contact())
	s.server.OnInvite(a.onInvite)
	s.server.OnAck(func(req *sip.Request, tx sip.ServerTransaction) { _ = a.dialogs.ReadAck(req, tx) }) // of a refresh: no dialog state
	s.server.OnBye(a.onBye)
	s.server.OnUpdate(func(req *sip.Request, tx sip.ServerTransaction) { s.reply(req, tx, sip.StatusOK, nil) })
	s.serve()
	return a, nil
}

// Addr is the address the phones listen on.
func (a *Answerer) Addr() string { return a.station.addr() }

// URI is the SIP URI of a line, for a gateway's static contacts.
func (a *Answerer) URI(number string) string {
	uri := a.station.uri(number)
	return uri.String()
}

// Set changes how a line treats calls from now on.
func (a *Answerer) Set(number string, b Behaviour) {
	a.mu.Lock()
	a.behaviour[plain(number)] = b
	a.mu.Unlock()
}

// Calls returns what was noted so far, oldest first.
func (a *Answerer) Calls() []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := make([]Call, len(a.calls))
	for i, c := range a.calls {
		calls[i] = *c
	}
	return calls
}

// Close hangs up what is answered, refuses what rings, and stops listening.
func (a *Answerer) Close() error {
	a.closing.Do(func() {
		a.mu.Lock()
		close(a.closed)
		a.mu.Unlock()
		a.taking.Wait()
		a.station.close()
	})
	return nil
}

func (a *Answerer) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	if to := req.To(); to != nil && to.Params.Has("tag") {
		a.station.reply(req, tx, sip.StatusOK, a.station.sdp())
		return
	}
	session, err := a.dialogs.ReadInvite(req, tx)
	if err != nil {
		a.station.reply(req, tx, sip.StatusBadRequest, nil)
		return
	}
	defer session.Close()
	c, b := a.note(req)
	if c == nil {
		_ = session.Respond(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable", nil)
		return
	}
	defer a.taking.Done()
	a.take(c, b, session)
	a.change(c, func() { c.EndedAt = time.Now() })
}

// note opens the record of a call and picks the line's behaviour; nil: closed.
func (a *Answerer) note(req *sip.Request) (*Call, Behaviour) {
	c := &Call{
		CallID: req.CallID().Value(), Number: req.Recipient.User, Caller: req.From().Address.User,
		Session: string(req.Body()), InviteAt: time.Now(), Headers: make(map[string]string),
	}
	for _, h := range req.Headers() {
		c.Headers[h.Name()] = h.Value()
	}
	c.Asserted = c.Headers["P-Asserted-Identity"]
	a.mu.Lock()
	if a.isClosed() {
		a.mu.Unlock()
		return nil, Behaviour{}
	}
	a.taking.Add(1)
	a.calls = append(a.calls, c)
	if len(a.calls) > callsKept {
		a.calls = slices.Delete(a.calls, 0, 1)
	}
	b, listed := a.behaviour[plain(c.Number)]
	a.mu.Unlock()
	if !listed {
		b = a.config.Default
	}
	a.change(c, func() {})
	return c, b
}

// take rings, answers or refuses, and talks. Failing responses show in what
// the caller sees; the record tells what was tried.
func (a *Answerer) take(c *Call, b Behaviour, session *sipgo.DialogServerSession) {
	ended := session.Context().Done()
	if b.EarlyMedia {
		_ = session.Respond(sip.StatusSessionInProgress, "Session Progress", a.station.sdp(), sip.NewHeader("Content-Type", contentType))
	} else {
		_ = session.Respond(sip.StatusRinging, "Ringing", nil)
	}
	switch {
	case !a.wait(b.Ring, b.NoAnswer, ended):
		a.change(c, func() { c.Status = sip.StatusRequestTerminated })
	case a.isClosed():
		a.change(c, func() { c.Status = sip.StatusTemporarilyUnavailable })
		_ = session.Respond(sip.StatusTemporarilyUnavailable, "Temporarily Unavailable", nil)
	case b.Refuse != 0:
		a.change(c, func() { c.Status = b.Refuse })
		_ = session.Respond(b.Refuse, "Refused", nil)
	default:
		a.talk(c, b, session, ended)
	}
}

// wait returns after the time, or at Close; false: the caller gave up.
func (a *Answerer) wait(d time.Duration, forever bool, ended <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	after := timer.C
	if forever {
		after = nil
	}
	select {
	case <-after:
		return true
	case <-a.closed:
		return true
	case <-ended:
		return false
	}
}

func (a *Answerer) isClosed() bool {
	select {
	case <-a.closed:
		return true
	default:
		return false
	}
}

func (a *Answerer) talk(c *Call, b Behaviour, session *sipgo.DialogServerSession, ended <-chan struct{}) {
	a.change(c, func() { c.Status, c.AnsweredAt = sip.StatusOK, time.Now() })
	err := session.Respond(sip.StatusOK, "OK", a.station.sdp(),
		sip.NewHeader("Content-Type", contentType), sip.NewHeader("Allow", allow))
	if err != nil || !a.wait(b.HangUpAfter, b.HangUpAfter == 0, ended) {
		return
	}
	a.change(c, func() { c.HungUp = Self })
	ctx, cancel := context.WithTimeout(context.Background(), byeMax)
	defer cancel()
	_ = session.Bye(ctx) // unanswered: the call is over all the same
}

func (a *Answerer) onBye(req *sip.Request, tx sip.ServerTransaction) {
	// The record is written before the dialog ends, which closes it.
	if c := a.find(req); c != nil {
		a.change(c, func() {
			if c.HungUp == "" {
				c.HungUp, c.Reason = Peer, reasonOf(req)
			}
		})
	}
	if err := a.dialogs.ReadBye(req, tx); err != nil {
		a.station.reply(req, tx, sip.StatusCallTransactionDoesNotExists, nil)
	}
}

func (a *Answerer) find(req *sip.Request) *Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if id := req.CallID(); id != nil && c.CallID == id.Value() && c.EndedAt.IsZero() {
			return c
		}
	}
	return nil
}

// change alters a record and tells of it.
func (a *Answerer) change(c *Call, alter func()) {
	a.mu.Lock()
	alter()
	noted := *c
	a.mu.Unlock()
	if a.config.OnChange != nil {
		a.config.OnChange(noted)
	}
}

func plain(number string) string { return strings.TrimPrefix(number, "+") }
