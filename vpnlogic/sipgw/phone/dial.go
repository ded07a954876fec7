package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// byeMax bounds the wait for the answer to our BYE.
const byeMax = 5 * time.Second

// DialOptions say how to place a call.
type DialOptions struct {
	From    string        // calling number, as From presents it
	To      string        // what is dialled
	Via     string        // the gateway's SIP address, host:port
	Network string        // "udp" (default) or "tcp"
	Talk    time.Duration // hang up so long after the answer; 0: leave it to the other side, or ctx
	Headers []Header      // further headers of the INVITE
	// OnEvent, if set, is told each message of the call; it must not block.
	OnEvent func(at time.Time, text string)
}

// Header is a SIP header as it stands in a message.
type Header struct{ Name, Value string }

// Status is a response to the INVITE.
type Status struct {
	At     time.Time
	Code   int
	Reason string // the status line's phrase
}

// Side is an end of the call as the phone sees it.
type Side string

// The sides.
const (
	Self Side = "self"
	Peer Side = "peer"
)

// Result is what became of a call.
type Result struct {
	CallID     string
	Statuses   []Status
	Status     int       // final status; 0: none came
	Reason     string    // Reason header of the refusal, or of the peer's BYE
	SDP        bool      // the answer described a session
	AnsweredAt time.Time // zero: not answered
	EndedAt    time.Time
	HungUp     Side // who ended an answered call, "" when it was not answered
}

// Talked is the time from answer to end.
func (r Result) Talked() time.Duration {
	if r.AnsweredAt.IsZero() {
		return 0
	}
	return r.EndedAt.Sub(r.AnsweredAt)
}

// Dial places one call and returns when it is over. A refused call is a
// Result, not an error; so is one that ended because ctx did, which cancels a
// call that rings and hangs up one that talks. Errors are those of the network.
func Dial(ctx context.Context, o DialOptions) (Result, error) {
	d, err := newDialling(o)
	if err != nil {
		return Result{}, err
	}
	defer d.station.close()
	if err := d.invite(ctx); err != nil {
		return d.finished(), err
	}
	if !d.answered {
		return d.finished(), nil
	}
	err = d.talk(ctx)
	return d.finished(), err
}

// dialling is a call being placed.
type dialling struct {
	options  DialOptions
	station  *station
	dialogs  *sipgo.DialogClientCache
	session  *sipgo.DialogClientSession
	answered bool
	byeCame  chan string // the Reason of the peer's BYE
	result   Result
}

func newDialling(o DialOptions) (*dialling, error) {
	if o.Network == "" {
		o.Network = "udp"
	}
	local, err := localAddr(o.Via)
	if err != nil {
		return nil, err
	}
	s, err := newStation(o.Network, local)
	if err != nil {
		return nil, err
	}
	d := &dialling{options: o, station: s, byeCame: make(chan string, 1)}
	d.dialogs = sipgo.NewDialogClientCache(s.client, s.contact())
	s.server.OnBye(d.onBye)
	// A session refresh of the gateway: the session stays as it is.
	s.server.OnUpdate(func(req *sip.Request, tx sip.ServerTransaction) { s.reply(req, tx, sip.StatusOK, nil) })
	s.server.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) { s.reply(req, tx, sip.StatusOK, s.sdp()) })
	s.server.OnAck(func(*sip.Request, sip.ServerTransaction) {})
	s.serve()
	return d, nil
}

// localAddr is the local address from which the gateway is reached, with a
// port of the system's choice.
func localAddr(via string) (string, error) {
	probe, err := net.Dial("udp", via) // sends nothing
	if err != nil {
		return "", fmt.Errorf("phone: gateway address: %w", err)
	}
	defer probe.Close()
	host, _, err := net.SplitHostPort(probe.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("phone: gateway address: %w", err)
	}
	return net.JoinHostPort(host, "0"), nil
}

// invite sends the INVITE and waits for its final response.
func (d *dialling) invite(ctx context.Context) error {
	host, port, err := sip.ParseAddr(d.options.Via)
	if err != nil {
		return fmt.Errorf("phone: gateway address: %w", err)
	}
	to := sip.Uri{Scheme: "sip", User: d.options.To, Host: host, Port: port}
	to.UriParams.Add("transport", d.options.Network)
	d.event("INVITE " + d.options.To)
	d.session, err = d.dialogs.Invite(ctx, to, d.station.sdp(), d.headers(host)...)
	if err != nil {
		return fmt.Errorf("phone: INVITE: %w", err)
	}
	d.result.CallID = d.session.InviteRequest.CallID().Value()
	err = d.session.WaitAnswer(ctx, sipgo.AnswerOptions{OnResponse: d.onResponse})
	return d.settleInvite(ctx, err)
}

func (d *dialling) headers(host string) []sip.Header {
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: d.options.From, Host: host}}
	from.Params.Add("tag", sip.GenerateTagN(16))
	headers := []sip.Header{from, sip.NewHeader("Content-Type", contentType), sip.NewHeader("Allow", allow)}
	for _, h := range d.options.Headers {
		headers = append(headers, sip.NewHeader(h.Name, h.Value))
	}
	return headers
}

func (d *dialling) onResponse(res *sip.Response) error {
	at := time.Now()
	d.result.Statuses = append(d.result.Statuses, Status{At: at, Code: res.StatusCode, Reason: res.Reason})
	if !res.IsProvisional() {
		d.result.Status, d.result.Reason = res.StatusCode, reasonOf(res)
		d.result.SDP = strings.HasPrefix(string(res.Body()), "v=0")
	}
	d.tell(at, fmt.Sprintf("%d %s", res.StatusCode, res.Reason))
	return nil
}

// settleInvite sorts out how the wait for the answer ended.
func (d *dialling) settleInvite(ctx context.Context, err error) error {
	var refused *sipgo.ErrDialogResponse
	switch {
	case err == nil:
	case errors.As(err, &refused):
		return nil
	case ctx.Err() != nil:
		return d.settleCancel()
	default:
		return fmt.Errorf("phone: waiting for the answer: %w", err)
	}
	d.answered = true
	d.result.AnsweredAt = time.Now()
	if err := d.session.Ack(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("phone: ACK: %w", err)
	}
	d.event("ACK")
	return nil
}

// settleCancel ends a cancelled call; an answer that crossed the CANCEL is
// acknowledged and hung up (RFC 3261 §9.1).
func (d *dialling) settleCancel() error {
	d.event("CANCEL")
	res := d.session.InviteResponse
	if res == nil || res.IsProvisional() {
		return nil
	}
	d.result.Status, d.result.Reason = res.StatusCode, reasonOf(res)
	if !res.IsSuccess() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), byeMax)
	defer cancel()
	if err := d.session.Ack(ctx); err != nil {
		return fmt.Errorf("phone: ACK: %w", err)
	}
	return d.bye(ctx)
}

// talk waits until one side hangs up.
func (d *dialling) talk(ctx context.Context) error {
	var enough <-chan time.Time
	if d.options.Talk > 0 {
		timer := time.NewTimer(d.options.Talk)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case reason := <-d.byeCame:
		d.result.HungUp, d.result.Reason = Peer, reason
		return nil
	case <-enough:
	case <-ctx.Done():
	}
	d.result.HungUp = Self
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeMax)
	defer cancel()
	return d.bye(grace)
}

func (d *dialling) bye(ctx context.Context) error {
	d.event("BYE")
	err := d.session.Bye(ctx)
	var answered sipgo.ErrDialogResponse // that the call is gone already, for one
	if err != nil && !errors.As(err, &answered) {
		return fmt.Errorf("phone: BYE: %w", err)
	}
	return nil
}

func (d *dialling) onBye(req *sip.Request, tx sip.ServerTransaction) {
	if err := d.dialogs.ReadBye(req, tx); err != nil {
		d.station.reply(req, tx, sip.StatusCallTransactionDoesNotExists, nil)
		return
	}
	d.event("BYE from the other side " + reasonOf(req))
	select {
	case d.byeCame <- reasonOf(req):
	default:
	}
}

func (d *dialling) finished() Result {
	d.result.EndedAt = time.Now()
	return d.result
}

func (d *dialling) event(text string) { d.tell(time.Now(), strings.TrimSpace(text)) }

func (d *dialling) tell(at time.Time, text string) {
	if d.options.OnEvent != nil {
		d.options.OnEvent(at, text)
	}
}

func reasonOf(msg sip.Message) string {
	if h := msg.GetHeaders("Reason"); len(h) > 0 {
		return h[0].Value()
	}
	return ""
}
