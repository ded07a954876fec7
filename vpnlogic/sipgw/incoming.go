package sipgw

import (
	"errors"
	"sync"

	"github.com/emiago/sipgo/sip"
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

// reply builds a response; it goes out with send.
func (in *incoming) reply(status int) *sip.Response {
	return sip.NewResponseFromRequest(in.req, status, reasonPhrase(status), nil)
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

// reasonPhrase is the text of a status line; it means nothing to a machine.
func reasonPhrase(status int) string {
	if phrase, known := phrases[status]; known {
		return phrase
	}
	return phrases[status/100]
}

// phrases by status, and by its class for the rest.
var phrases = map[int]string{
	1: "Progress", 2: "OK", 3: "Redirection", 4: "Request Failure", 5: "Server Failure", 6: "Global Failure",

	sip.StatusTrying:                       "Trying",
	sip.StatusRinging:                      "Ringing",
	sip.StatusSessionInProgress:            "Session Progress",
	sip.StatusOK:                           "OK",
	sip.StatusBadRequest:                   "Bad Request",
	sip.StatusPaymentRequired:              "Payment Required",
	sip.StatusForbidden:                    "Forbidden",
	sip.StatusNotFound:                     "Not Found",
	sip.StatusMethodNotAllowed:             "Method Not Allowed",
	sip.StatusRequestTimeout:               "Request Timeout",
	sip.StatusGone:                         "Gone",
	sip.StatusBadExtension:                 "Bad Extension",
	statusIntervalTooSmall:                 "Session Interval Too Small",
	sip.StatusTemporarilyUnavailable:       "Temporarily Unavailable",
	sip.StatusCallTransactionDoesNotExists: "Call/Transaction Does Not Exist",
	sip.StatusTooManyHops:                  "Too Many Hops",
	sip.StatusAddressIncomplete:            "Address Incomplete",
	sip.StatusBusyHere:                     "Busy Here",
	sip.StatusRequestTerminated:            "Request Terminated",
	sip.StatusNotAcceptableHere:            "Not Acceptable Here",
	sip.StatusRequestPending:               "Request Pending",
	sip.StatusNotImplemented:               "Not Implemented",
	sip.StatusServiceUnavailable:           "Service Unavailable",
	sip.StatusGlobalDecline:                "Decline",
}
