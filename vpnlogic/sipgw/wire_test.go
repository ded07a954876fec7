package sipgw

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// wire is a SIP end on a bare UDP socket: it sends what a test writes and
// hands out what comes, with no transactions behind it.
type wire struct {
	t    *testing.T
	conn *net.UDPConn
	peer *net.UDPAddr // where its requests go
	tag  string
	seen uint32 // number of the last request read
}

func newWire(t *testing.T, gateway string) *wire {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &wire{t: t, conn: conn, tag: sip.GenerateTagN(8)}
	if gateway != "" {
		w.aim(gateway)
	}
	return w
}

func (w *wire) aim(gateway string) {
	peer, err := net.ResolveUDPAddr("udp", gateway)
	if err != nil {
		w.t.Fatal(err)
	}
	w.peer = peer
}

func (w *wire) addr() string { return w.conn.LocalAddr().String() }

func (w *wire) write(text string) {
	w.t.Helper()
	if _, err := w.conn.WriteToUDP([]byte(text), w.peer); err != nil {
		w.t.Fatal(err)
	}
}

// read waits for the next message that is wanted; others, repetitions mostly,
// are passed over.
func (w *wire) read(what string, wanted func(sip.Message) bool) sip.Message {
	w.t.Helper()
	buf := make([]byte, 65536)
	var seen []string
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	for {
		n, from, err := w.conn.ReadFromUDP(buf)
		if err != nil {
			w.t.Fatalf("no %s: %v; seen: %s", what, err, strings.Join(seen, ", "))
		}
		msg, err := sip.ParseMessage(append([]byte(nil), buf[:n]...))
		if err != nil {
			w.t.Fatalf("unreadable message: %v\n%s", err, buf[:n])
		}
		msg.SetSource(from.String())
		if wanted(msg) {
			return msg
		}
		line, _, _ := strings.Cut(msg.String(), "\r\n")
		seen = append(seen, line)
	}
}

// readRequest waits for a request of the method that was not read before.
func (w *wire) readRequest(method sip.RequestMethod) *sip.Request {
	w.t.Helper()
	req := w.read(string(method), func(m sip.Message) bool {
		req, ok := m.(*sip.Request)
		fresh := ok && (req.CSeq().SeqNo > w.seen || method == sip.ACK || method == sip.CANCEL)
		return fresh && req.Method == method
	}).(*sip.Request)
	w.seen = max(w.seen, req.CSeq().SeqNo)
	return req
}

// readStatus waits for a response to the method; seq is its number.
func (w *wire) readStatus(method sip.RequestMethod, seq, status int) *sip.Response {
	w.t.Helper()
	return w.read(fmt.Sprintf("%d to %s", status, method), func(m sip.Message) bool {
		res, ok := m.(*sip.Response)
		ours := ok && res.CSeq().MethodName == method && int(res.CSeq().SeqNo) == seq
		if ours && res.StatusCode >= 200 && res.StatusCode != status {
			w.t.Fatalf("%s answered %d, want %d\n%s", method, res.StatusCode, status, res)
		}
		return ours && res.StatusCode == status
	}).(*sip.Response)
}

// answer responds to a request under this end's tag.
func (w *wire) answer(req *sip.Request, status int, body string, headers ...string) {
	w.t.Helper()
	w.answerAs(w.tag, req, status, body, headers...)
}

func (w *wire) answerAs(tag string, req *sip.Request, status int, body string, headers ...string) {
	w.t.Helper()
	res := sip.NewResponseFromRequest(req, status, "Text", nil)
	if !req.To().Params.Has("tag") {
		res.To().Params.Add("tag", tag)
	}
	res.AppendHeader(sip.NewHeader("Contact", "<sip:wire@"+w.addr()+">"))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		res.AppendHeader(sip.NewHeader(name, value))
	}
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		res.SetBody([]byte(body))
	}
	to, err := net.ResolveUDPAddr("udp", req.Source())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.conn.WriteToUDP([]byte(res.String()), to); err != nil {
		w.t.Fatal(err)
	}
}

// dialogue is a wire's side of a dialog.
type dialogue struct {
	*wire
	callID        string
	local, remote string // From and To of its requests, with tags
	target        string
	seq           int
	invite        string // branch of the INVITE
}

// caller opens a dialogue towards the gateway, as 6001.
func (w *wire) caller() *dialogue {
	return &dialogue{
		wire: w, callID: sip.GenerateTagN(12) + "@wire", target: "sip:6002@" + w.peer.String(),
		local:  "<sip:+8613800000001@wire.example>;tag=" + w.tag,
		remote: "<sip:6002@wire.example>",
	}
}

// callee is the dialogue an INVITE of the gateway opened.
func (w *wire) callee(invite *sip.Request) *dialogue {
	w.aim(invite.Source())
	return &dialogue{
		wire: w, callID: invite.CallID().Value(), target: invite.Contact().Address.String(),
		local:  invite.To().Value() + ";tag=" + w.tag,
		remote: invite.From().Value(), seq: 100,
	}
}

// request sends a request; ACK and CANCEL take the last number.
func (d *dialogue) request(method sip.RequestMethod, body string, headers ...string) {
	d.t.Helper()
	branch := sip.GenerateBranch()
	switch method {
	case sip.ACK:
	case sip.CANCEL:
		branch = d.invite
	default:
		d.seq++
	}
	if method == sip.INVITE {
		d.invite = branch
	}
	d.write(d.text(method, branch, body, headers))
}

func (d *dialogue) text(method sip.RequestMethod, branch, body string, headers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method, d.target)
	fmt.Fprintf(&b, "Via: SIP/2.0/UDP %s;branch=%s;rport\r\n", d.addr(), branch)
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\n", d.local, d.remote, d.callID)
	fmt.Fprintf(&b, "CSeq: %d %s\r\nContact: <sip:wire@%s>\r\n", d.seq, method, d.addr())
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// readStatus waits for a response to the last request of the method.
func (d *dialogue) readStatus(method sip.RequestMethod, status int) *sip.Response {
	d.t.Helper()
	return d.wire.readStatus(method, d.seq, status)
}

// established notes what a response says of the other side.
func (d *dialogue) established(res *sip.Response) {
	d.remote = res.To().Value()
	if c := res.Contact(); c != nil {
		d.target = c.Address.String()
	}
}

// value is a header's value, "" when it is absent.
func value(m sip.Message, name string) string { return headerValue(m, name) }

func wantValue(t *testing.T, m sip.Message, name, want string) {
	t.Helper()
	if got := value(m, name); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}
