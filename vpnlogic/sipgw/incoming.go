package sipgw

import (
	"errors"
	"sync"

	"github.com/emiago/sipgo/sip"

	"gygate/vpnlogic"
)

// incoming is a request with its server transaction, until it is answered.
type incoming struct {
	gw        *Gateway
	req       *sip.Request
	tx        sip.ServerTransaction
	cancelled chan *sip.Request // the CANCEL, which the library has answered for us
	answered  chan struct{}     // closed with the final response
	once      sync.Once
}

func (g *Gateway) incoming(req *sip.Request, tx sip.ServerTransaction) *incoming {
	return &incoming{gw: g, req: req, tx: tx, cancelled: make(chan *sip.Request, 1), answered: make(chan struct{})}
}

// watchCancel reports a CANCEL from now on; false: it came already, or the
// transaction is dead.
func (in *incoming) watchCancel() bool {
	return in.tx.OnCancel(func(cancel *sip.Request) {
		// The library holds its locks and answers the INVITE with 487 next.
		in.gw.metrics.responded(in.req.Method.String(), sip.StatusRequestTerminated)
		in.cancelled <- cancel
	})
}

// cancels is nil, on which a select waits forever, when there is no INVITE any more.
func (in *incoming) cancels() <-chan *sip.Request {
	if in == nil {
		return nil
	}
	return in.cancelled
}

// reply builds a response; it goes out with send.
func (in *incoming) reply(status int) *sip.Response {
	return sip.NewResponseFromRequest(in.req, status, vpnlogic.StatusPhrase(status), nil)
}

// send sends a response. A request that was cancelled a moment before keeps
// the 487 the library gave it, and the error says so.
func (in *incoming) send(res *sip.Response) error {
	if !res.IsProvisional() {
		defer in.settle()
	}
	err := in.tx.Respond(res)
	if errors.Is(err, sip.ErrTransactionCanceled) {
		// Though refused, the response has become the one the library repeats
		// until the ACK: put the right one back.
		terminated := in.reply(sip.StatusRequestTerminated)
		_ = in.tx.Respond(terminated) // it fails the same way, and stays
		return err
	}
	in.gw.metrics.responded(in.req.Method.String(), res.StatusCode)
	return err
}

// settle ends the wait for an answer; the library gave it, or we did.
func (in *incoming) settle() { in.once.Do(func() { close(in.answered) }) }

func (in *incoming) isAnswered() bool {
	select {
	case <-in.answered:
		return true
	default:
		return false
	}
}

// refuse answers with a status alone, and the headers a client needs to make
// use of it.
func (in *incoming) refuse(status int, headers ...sip.Header) {
	res := in.reply(status)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if err := in.send(res); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		in.gw.log.Debug("sip response not sent", "status", status, "err", err)
	}
}
