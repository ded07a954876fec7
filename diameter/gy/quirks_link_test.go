package gy

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"gygate/diameter"
	"gygate/diameter/diametertest"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/ocstest"
)

// What the node asks of the clients on the stage: the notifier on a real peer
// machine, over a pipe.

// quirkLink is a client's connection to the node's peer machine, which carries the
// node's own requests.
type quirkLink struct {
	conn   net.Conn
	mu     sync.Mutex
	answer func(diameter.Message) []byte // what the client says to RAR and ASR; nil: nothing
	asked  []diameter.Message
}

// notify starts a notifier on a real peer machine that the client is connected to.
func (q *quirks) notify(answer func(diameter.Message) []byte) (*quirkLink, *quirkNotices) {
	q.Helper()
	server, err := peer.NewServer(peer.ServerConfig{
		Local:   peer.Local{Host: testLocal.Host, Realm: testLocal.Realm, OriginStateID: testLocal.StateID, Product: "gygate"},
		Unknown: peer.Open, Dictionary: dictionary(), Logger: q.log.logger(),
	}, q.server)
	if err != nil {
		q.Fatal(err)
	}
	near, far := net.Pipe()
	listener := &quirkListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	listener.conns <- quirkConn{near}
	notices := &quirkNotices{books: q.books}
	notifier := NewNotifier(NotifierConfig{Local: testLocal, Tariff: func() *ocs.Tariff { return q.tariff },
		Profile: q.look, Logger: q.log.logger()}, notices, server)
	ctx, stop := context.WithCancel(context.WithoutCancel(q.Context()))
	var parts sync.WaitGroup
	parts.Go(func() { q.ends(server.Serve(ctx, listener)) })
	parts.Go(func() { q.ends(notifier.Run(ctx)) })
	diametertest.NewPeer(q, far, diameter.Origin{Host: quirkGatewayID, Realm: "other.example"}).Connect()
	q.ends(far.SetDeadline(time.Time{})) // that of the exchange of capabilities
	link := &quirkLink{conn: far, answer: answer}
	parts.Go(link.serve)
	q.Cleanup(func() { stop(); parts.Wait() })
	return link, notices
}

func (q *quirks) ends(err error) {
	if err != nil {
		q.Error(err)
	}
}

// serve answers what the node asks until the connection ends.
func (l *quirkLink) serve() {
	for {
		m, err := diameter.ReadMessage(l.conn)
		if err != nil {
			return
		}
		if frame := l.reply(m); frame != nil {
			if _, err := l.conn.Write(frame); err != nil {
				return
			}
		}
		if m.Command == diameter.CmdDisconnectPeer {
			_ = l.conn.Close()
			return
		}
	}
}

func (l *quirkLink) reply(m diameter.Message) []byte {
	if m.Command != diameter.CmdReAuth && m.Command != diameter.CmdAbortSession {
		return quirkReply(m, diameter.Success)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, m)
	return l.answer(m)
}

// requests are the RAR and ASR so far.
func (l *quirkLink) requests() []diameter.Message {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// quirkReply is the client's answer to a request of the node, with what its maker
// adds.
func quirkReply(m diameter.Message, code diameter.ResultCode, more ...[]byte) []byte {
	b := diameter.Start(nil, diameter.Header{Flags: m.Flags & diameter.FlagProxiable, Command: m.Command,
		Application: m.Application, HopByHop: m.HopByHop, EndToEnd: m.EndToEnd})
	if session, ok := m.Find(diameter.SessionID); ok {
		b = diameter.AppendRaw(b, session.Raw)
	}
	b = slices.Concat(b, result(code), str(diameter.OriginHost, quirkGatewayID), str(diameter.OriginRealm, "other.example"), slices.Concat(more...))
	return diameter.Finish(b, 0)
}

// quirkListener hands out the one connection of the stage.
type quirkListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *quirkListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *quirkListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *quirkListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3868} }

// quirkConn is a pipe that has the addresses of a TCP connection.
type quirkConn struct{ net.Conn }

func (quirkConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3868} }

func (quirkConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }

// quirkNotices keeps notices in memory by the rules of ocs.Notices.
type quirkNotices struct {
	books   *ocstest.Memory
	mu      sync.Mutex
	list    []*quirkNotice
	results []ocs.NoticeResult
	aborts  int // of them to what was sent as ASR
}

type quirkNotice struct {
	ocs.Notice
	due    time.Time
	served ocs.ServedWindow // of the session at the last sending
	over   bool
}

// raise is what the transaction of a top-up or a block does.
func (n *quirkNotices) raise(sessionID string, reason ocs.NoticeReason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.books.Session(sessionID)
	n.list = append(n.list, &quirkNotice{Notice: ocs.Notice{Session: s.Key, Account: s.Account, SessionID: s.ID, Service: s.Service,
		Client: s.Client, Reason: reason, Raised: 1}, due: time.Now(), served: s.Served})
}

// Claim implements ocs.Notices.
func (n *quirkNotices) Claim(_ context.Context, hosts []string, _ bool, limit int) ([]ocs.Notice, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var due []ocs.Notice
	for _, notice := range n.list {
		s := n.books.Session(notice.SessionID)
		notice.over = notice.over || !s.Open() || (notice.Attempt > 0 && s.Served != notice.served)
		if notice.over || time.Now().Before(notice.due) || len(due) == limit || !slices.Contains(hosts, strings.ToLower(notice.Client.Host)) {
			continue
		}
		notice.Attempt++
		notice.due, notice.served = time.Now().Add(ocs.NoticeLease), s.Served
		due = append(due, notice.Notice)
	}
	return due, nil
}

// Settle implements ocs.Notices.
func (n *quirkNotices) Settle(_ context.Context, settled ocs.Notice, r ocs.NoticeResult, endToEnd uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.results = append(n.results, r)
	if settled.Abort {
		n.aborts++
	}
	i := slices.IndexFunc(n.list, func(notice *quirkNotice) bool { return notice.Session == settled.Session })
	if i < 0 {
		return errors.New("no such notice")
	}
	notice := n.list[i]
	again := settled.Attempt < ocs.NoticeAttempts && !settled.Abort
	switch {
	case r == ocs.NoticeExpected && again:
		notice.due, notice.EndToEnd = time.Now().Add(ocs.NoticeWait), 0
	case r == ocs.NoticeUndelivered && settled.Attempt < ocs.NoticeAttempts:
		notice.due, notice.EndToEnd = time.Now(), endToEnd
	default:
		notice.over = true
	}
	return nil
}

// settled are the results so far.
func (n *quirkNotices) settled() []ocs.NoticeResult {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.results)
}
