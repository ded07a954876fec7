package gy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// Reacher sends requests to clients and knows who is connected; *peer.Server does.
type Reacher interface {
	Do(ctx context.Context, r peer.Request) (peer.Answer, error)
	Reachable() (hosts []string, relays bool)
}

const (
	// NoticePollDefault is how often notices are looked for when nobody hints.
	NoticePollDefault = time.Second
	// noticesAtOnce bounds the notices under way from one node: after a change of
	// the tariff there may be one for every open session.
	noticesAtOnce = 64
	// noticeTx is how long an answer is waited for, well inside ocs.NoticeLease.
	noticeTx = 5 * time.Second
	// claimTimeout bounds one look for due notices, whatever has become of the database.
	claimTimeout = 10 * time.Second
	// waysMax bounds the remembered ways of undelivered notices. When they are more,
	// all are forgotten: a repeat then just does not go out of its way.
	waysMax = 4096
)

// NotifierConfig configures a Notifier.
type NotifierConfig struct {
	Local  diameter.Origin    // the charging system's identity
	Tariff func() *ocs.Tariff // says which services end a session whose payer is barred; required
	// Profile is that of ServerConfig: asked for the client, then for its relay.
	Profile func(host string) (Profile, bool)
	Poll    time.Duration // default NoticePollDefault
	Logger  *slog.Logger
}

// Notifier asks the clients of open sessions to come back (Re-Auth-Request, RFC
// 8506 §5.5) or to end them (Abort-Session-Request, RFC 6733 §8.5) when something
// about the payer has changed. It delivers the notices that this node's
// connections reach; other nodes deliver theirs.
type Notifier struct {
	config  NotifierConfig
	notices ocs.Notices
	peers   Reacher
	hint    chan struct{}
	sent    metric.Int64Counter

	mu   sync.Mutex
	ways map[ocs.SessionRef]string // the peer through which an undelivered notice went
}

// NewNotifier returns a notifier that delivers notices through peers.
func NewNotifier(config NotifierConfig, notices ocs.Notices, peers Reacher) *Notifier {
	config.Logger = orDiscard(config.Logger)
	if config.Poll <= 0 {
		config.Poll = NoticePollDefault
	}
	// The API returns a working no-op instrument with its error.
	sent, _ := otel.Meter(scope).Int64Counter("gygate.notices", metric.WithDescription("RAR and ASR sent to clients, by what came of them"))
	return &Notifier{
		config: config, notices: notices, peers: peers, sent: sent,
		hint: make(chan struct{}, 1), ways: make(map[ocs.SessionRef]string),
	}
}

// Hint says that a notice may have been raised. It never blocks.
func (n *Notifier) Hint() {
	select {
	case n.hint <- struct{}{}:
	default: // one waits already
	}
}

// Run delivers until ctx ends, and then waits for what is under way.
func (n *Notifier) Run(ctx context.Context) error {
	tick := time.NewTicker(n.config.Poll)
	defer tick.Stop()
	var underWay sync.WaitGroup
	defer underWay.Wait()
	room := make(chan struct{}, noticesAtOnce)
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.hint:
		}
		err := n.claim(ctx, &underWay, room)
		if err != nil && !failing && ctx.Err() == nil {
			n.config.Logger.Warn("notices to clients cannot be read; they learn of changes when their quotas end", "err", err)
		}
		failing = err != nil
	}
}

// claim takes the due notices, as many as there is room for, and has each
// delivered. It looks also when nobody is connected: what is ripe is ended on the
// way. When there was no room for more, it is called again by the first that
// is through.
func (n *Notifier) claim(ctx context.Context, underWay *sync.WaitGroup, room chan struct{}) error {
	hosts, relays := n.peers.Reachable()
	free := cap(room) - len(room)
	if free == 0 {
		return nil
	}
	look, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	due, err := n.notices.Claim(look, hosts, relays, free)
	if err != nil {
		return err
	}
	for _, notice := range due {
		room <- struct{}{}
		underWay.Go(func() {
			n.deliver(context.WithoutCancel(ctx), notice)
			<-room
			if len(due) == free {
				n.Hint()
			}
		})
	}
	return nil
}

// deliver sends one notice and settles it.
func (n *Notifier) deliver(ctx context.Context, notice ocs.Notice) {
	notice.Abort = n.aborts(notice)
	result, endToEnd := ocs.NoticeWithheld, uint32(0)
	if n.acts(notice) {
		result, endToEnd = n.send(ctx, notice)
	}
	n.sent.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", notice.Reason.String()), attribute.String("result", resultName(result))))
	settling, cancel := context.WithTimeout(ctx, noticeTx)
	defer cancel()
	if err := n.notices.Settle(settling, notice, result, endToEnd); err != nil {
		n.config.Logger.Warn("a notice cannot be settled; it will be sent once more", "session", notice.SessionID, "peer", notice.Client.Host, "err", err)
	}
}

// aborts reports whether the session is to end. Where the payer is barred that
// follows the service (conformance B-198).
func (n *Notifier) aborts(notice ocs.Notice) bool {
	if notice.Reason != ocs.NoticeBarred {
		return notice.Reason == ocs.NoticeEnd
	}
	service := n.config.Tariff().Context(notice.Service)
	switch {
	case service == nil, service.Bar == ocs.BarAbort:
		return true
	case service.Bar == ocs.BarAsk:
		return false
	}
	return !service.ItemRefusals
}

// acts reports whether the client acts on what it would be sent (B-202).
func (n *Notifier) acts(notice ocs.Notice) bool {
	if n.config.Profile != nil {
		for _, name := range [...]string{notice.Client.Host, notice.Client.Relay} {
			if p, ok := n.config.Profile(name); ok {
				return p.Reauthorize
			}
		}
	}
	return true
}

// send is one exchange with the client. A repeat has the identifier and the T bit
// of what it repeats, and goes another way if there is one (conformance B-194).
func (n *Notifier) send(ctx context.Context, notice ocs.Notice) (ocs.NoticeResult, uint32) {
	ctx, cancel := context.WithTimeout(ctx, noticeTx)
	defer cancel()
	got, err := n.peers.Do(ctx, peer.Request{
		Encode:         func(b []byte, _ string) []byte { return n.append(b, notice) },
		Stay:           notice.Client.Host,
		Via:            notice.Client.Relay,
		Avoid:          n.wayOf(notice),
		Retransmission: notice.EndToEnd != 0,
		EndToEnd:       notice.EndToEnd,
	})
	switch {
	case errors.Is(err, peer.ErrNoPeer), errors.Is(err, peer.ErrPendingFull):
		n.tell(notice, 0, err)
		return ocs.NoticeUndelivered, notice.EndToEnd // nothing was sent
	case err != nil:
		n.remember(notice, got.From.Host)
		n.tell(notice, 0, err)
		return ocs.NoticeUndelivered, got.EndToEnd
	}
	// Whatever else an answer has wrong (conformance D-011, D-024), its code counts.
	code := got.Message.ResultCode()
	result := resultOf(notice.Abort, code)
	if result == ocs.NoticeUndelivered {
		n.remember(notice, got.From.Host)
		n.tell(notice, code, nil)
	}
	return result, got.EndToEnd
}

// tell logs that a notice is given up; the first failure is not the end yet.
func (n *Notifier) tell(notice ocs.Notice, code diameter.ResultCode, err error) {
	if notice.Attempt < ocs.NoticeAttempts {
		return
	}
	n.config.Logger.Warn("a client cannot be told of a change; it learns of it when its quota ends. If it never acts on RAR, set reauthorize: false for it",
		"session", notice.SessionID, "peer", notice.Client.Host, "reason", notice.Reason.String(), "result_code", uint32(code), "err", err)
}

// resultOf is what a Result-Code of RAA or ASA means (RFC 8506 §5.5, RFC 6733
// §8.3.2, §8.5.2; conformance B-192, B-193, B-199).
func resultOf(abort bool, code diameter.ResultCode) ocs.NoticeResult {
	switch {
	case code == diameter.UnknownSessionID:
		return ocs.NoticeUnknown
	case code == diameter.LimitedSuccess, abort && code == diameter.Success:
		return ocs.NoticeExpected
	case code == diameter.Success:
		return ocs.NoticeDone
	}
	return ocs.NoticeUndelivered
}

// append appends the whole RAR or ASR (RFC 6733 §8.3.1, §8.5.1; RFC 8506 §10.2;
// conformance B-190, B-191, B-198).
func (n *Notifier) append(b []byte, notice ocs.Notice) []byte {
	start := len(b)
	h := diameter.Header{Flags: diameter.FlagRequest | diameter.FlagProxiable, Command: diameter.CmdReAuth, Application: diameter.AppCreditControl}
	if notice.Abort {
		h.Command = diameter.CmdAbortSession
	}
	b = diameter.Start(b, h)
	b = diameter.AppendString(b, diameter.SessionID, notice.SessionID)
	b = diameter.AppendString(b, diameter.OriginHost, n.config.Local.Host)
	b = diameter.AppendString(b, diameter.OriginRealm, n.config.Local.Realm)
	b = diameter.AppendString(b, diameter.DestinationRealm, notice.Client.Realm)
	b = diameter.AppendString(b, diameter.DestinationHost, notice.Client.Host)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	if !notice.Abort {
		b = diameter.AppendUint32(b, diameter.ReAuthRequestType, authorizeOnly)
		if notice.RatingGroup != nil {
			b = diameter.AppendUint32(b, diameter.RatingGroup, *notice.RatingGroup)
		}
	}
	if notice.SubID != 0 {
		b = diameter.AppendUint64(b, diameter.CCSubSessionID, notice.SubID)
	}
	if n.config.Local.StateID != 0 {
		b = diameter.AppendUint32(b, diameter.OriginStateID, n.config.Local.StateID)
	}
	return diameter.Finish(b, start)
}

// authorizeOnly is the Re-Auth-Request-Type of credit control (RFC 8506 §5.5).
const authorizeOnly = 0

// wayOf takes the way an undelivered notice went off the list.
func (n *Notifier) wayOf(notice ocs.Notice) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ref := ocs.SessionRef{Key: notice.Session, Sub: notice.SubID}
	way := n.ways[ref]
	delete(n.ways, ref)
	if notice.EndToEnd == 0 {
		return ""
	}
	return way
}

func (n *Notifier) remember(notice ocs.Notice, way string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if way == "" || notice.Attempt >= ocs.NoticeAttempts {
		return
	}
	if len(n.ways) >= waysMax {
		clear(n.ways)
	}
	n.ways[ocs.SessionRef{Key: notice.Session, Sub: notice.SubID}] = way
}

func resultName(r ocs.NoticeResult) string {
	switch r {
	case ocs.NoticeExpected:
		return "expected"
	case ocs.NoticeDone:
		return "done"
	case ocs.NoticeUnknown:
		return "unknown session"
	case ocs.NoticeUndelivered:
		return "undelivered"
	case ocs.NoticeWithheld:
		return "withheld"
	}
	return "unknown"
}
