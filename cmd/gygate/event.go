package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/diameter"
	"gygate/diameter/gy"
	"gygate/diameter/peer"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic"
)

// eventConnect bounds how long the connection to a charging system may take; one that
// is refused ends the wait, unless another command stands in the way.
const eventConnect = 5 * time.Second

// eventRemedy is what to do when there is no connection.
const eventRemedy = `  does a charging system serve there? The address is --server, else the first diameter.listen
  of the configuration
  one in another process or place lets this command in when its configuration has under diameter.peers:
    - {host: %s, addresses: [the network this command runs in]}`

// eventRemedies are what to do about refusals that are the operator's to mend.
var eventRemedies = map[ocs.Refusal]string{
	ocs.Unrated: `
  gygate tariff list shows the prices, gygate service list the rating group of a request that
  names neither --rating-group nor --service-id, gygate tariff import adds what is missing`,
	ocs.UnknownContext: `
  gygate service list shows the services, gygate service set adds one`,
}

// eventActions are the Requested-Actions by their word (RFC 8506 §8.41).
var eventActions = map[ocs.EventAction]string{
	ocs.CheckBalance: "balance", ocs.PriceEnquiry: "price", ocs.DirectDebit: "debit", ocs.RefundAccount: "refund",
}

// eventFlags are the flags of event, as texts.
type eventFlags struct {
	service, unit, money, called, token, server, host, realm string
	group, id                                                uint32
	units                                                    uint64
}

func newEventCommand(a *app) *cobra.Command {
	var o eventFlags
	cmd := &cobra.Command{
		Use:   "event balance|price|debit|refund IDENTITY",
		Short: "Send a one-time charging event over Diameter (CCR-Event)",
		Long: `Event is a credit-control client for one request: is there enough on the account, what
would it cost, take it, give it back. IDENTITY is who pays: digits, or private:NAME.
A gygate on this machine knows it; a charging system elsewhere must know the peer
` + "`tool.`" + ` followed by node.vpn.host.`,
		Example: `  gygate event balance 493023125001 --money 5.00 --currency 978
  gygate event price 493023125001 --called 494066969100 --units 60
  gygate event debit 493023125001 --service 32274@3gpp.org --service-id 8 --units 1
  gygate event refund 493023125001 --service 32274@3gpp.org --service-id 8 --units 1 --token 6f1d…`,
		Args: cobra.ExactArgs(2),
	}
	var currency uint32
	f := cmd.Flags()
	f.StringVar(&o.service, "service", gy.ContextSIP, "Service-Context-Id")
	f.Uint32Var(&o.group, "rating-group", 0, "Rating-Group, of debit and refund")
	f.Uint32Var(&o.id, "service-id", 0, "Service-Identifier")
	f.Uint64Var(&o.units, "units", 0, "how many; 0: the server decides")
	f.StringVar(&o.unit, "unit", "", "seconds, octets or events; otherwise what the service counts")
	f.StringVar(&o.money, "money", "", "an amount instead of units, for example 5.00")
	f.Uint32Var(&currency, "currency", 0, "currency of --money (ISO 4217 number); 0: the account's")
	f.StringVar(&o.called, "called", "", "called number with its country code, where it makes the price")
	f.StringVar(&o.token, "token", "", "refund: what the debit's answer said")
	f.StringVar(&o.server, "server", "", "charging system, `HOST:PORT`; empty: the first diameter.listen of the configuration")
	f.StringVar(&o.host, "host", "", "Origin-Host of the charging system; empty: any")
	f.StringVar(&o.realm, "realm", "", "realm of the charging system; empty: node.ocs.realm")
	cmd.MarkFlagsMutuallyExclusive("money", "units")
	cmd.MarkFlagsMutuallyExclusive("money", "unit")
	a.jsonFlag(cmd)
	cmd.RunE = a.run(func(c *invocation) error {
		r, err := o.request(cmd, c.args[0], c.args[1], currency)
		if err != nil {
			return err
		}
		return c.sendEvent(o, r)
	})
	return cmd
}

// request is the command line as an event.
func (o *eventFlags) request(cmd *cobra.Command, action, payer string, currency uint32) (r gy.EventRequest, err error) {
	if r.Action, err = meaningOf(eventActions, action); err != nil {
		return r, usage("%w", err)
	}
	id, err := pgstore.ParseIdentity(payer)
	switch {
	case err != nil:
		return r, usage("%w", err)
	case id.Kind == ocs.E164:
		r.Payer = vpnlogic.E164(id.Value)
	case id.Kind == ocs.Private:
		r.PayerAccount = id.Value
	default:
		return r, usage("%q: an event is paid by a number or by private:NAME", payer)
	}
	r.Context = o.service
	if cmd.Flags().Changed("rating-group") && (r.Action == ocs.CheckBalance || r.Action == ocs.PriceEnquiry) {
		return r, usage("--rating-group: balance and price go without one (RFC 8506 section 6.1); --service-id and --called tell what it is about")
	}
	if cmd.Flags().Changed("rating-group") {
		r.RatingGroup = gy.Some(o.group)
	}
	if cmd.Flags().Changed("service-id") {
		r.Service = gy.Some(o.id)
	}
	if r.RefundInformation, err = hex.DecodeString(o.token); err != nil {
		return r, usage("--token: %w", err)
	}
	if o.called != "" {
		r.Call = &vpnlogic.CallInfo{Called: vpnlogic.E164(strings.TrimPrefix(o.called, "+")), Calling: r.Payer}
	}
	r.Units, err = o.quantity(currency)
	return r, err
}

func (o *eventFlags) quantity(currency uint32) (u gy.ServiceUnits, err error) {
	if o.money != "" {
		money, err := parseMoney("--money", o.money)
		amount := gy.AmountOf(money, ocs.Currency(currency))
		u.Money = gy.Some(amount)
		return u, err
	}
	kind := ocs.Seconds
	if o.unit != "" {
		if kind, err = pgstore.ParseUnit(o.unit); err != nil {
			return u, usage("--unit: %w", err)
		}
	} else if !strings.HasPrefix(o.service, "32260") && !strings.HasPrefix(o.service, "32276") {
		kind = ocs.Events
	}
	switch {
	case o.units == 0: // an empty group: the server decides
	case kind == ocs.Seconds:
		u.Time = gy.Some(uint32(min(o.units, 1<<32-1)))
	case kind == ocs.Octets:
		u.Total = gy.Some(o.units)
	default:
		u.Specific = gy.Some(o.units)
	}
	return u, nil
}

// eventResult is what `gygate event --json` prints.
type eventResult struct {
	Session  string `json:"session"`
	Granted  bool   `json:"granted"`
	Enough   *bool  `json:"enough,omitempty"` // balance
	Code     uint32 `json:"result_code"`
	Reason   string `json:"reason,omitempty"`
	Cost     string `json:"cost,omitempty"`
	Currency uint32 `json:"currency,omitempty"`
	Token    string `json:"token,omitempty"` // debit: hand it back to refund
	Server   string `json:"server,omitempty"`
}

func (c *invocation) sendEvent(o eventFlags, r gy.EventRequest) error {
	client, end, err := c.connectTool(&o)
	if err != nil {
		return err
	}
	got, err := client.Event(c.ctx, r)
	err = errors.Join(err, end())
	out := eventResult{
		Session: got.Session, Granted: got.Granted, Code: got.Code, Reason: got.Reason,
		Cost: got.Cost, Currency: got.Currency, Token: hex.EncodeToString(got.RefundInformation), Server: got.Server,
	}
	if r.Action == ocs.CheckBalance && err == nil {
		out.Enough = &got.Enough
	}
	if got.Code == 0 {
		return exitWith(exitUnreachable, fmt.Errorf("no answer from %s: %w", o.server, err))
	}
	if shown := c.show(out, "%s", out.text(r.Action)); shown != nil {
		return shown
	}
	if err != nil || got.Result != vpnlogic.ChargeGranted && got.Result != vpnlogic.ChargeFree {
		return refused("%s refused: %d %s%s", eventActions[r.Action], got.Code, got.Reason, eventRemedies[ocs.Refusal(got.Reason)])
	}
	return nil
}

func (e *eventResult) text(action ocs.EventAction) string {
	var lines []string
	switch {
	case e.Enough != nil && *e.Enough:
		lines = append(lines, "enough credit")
	case e.Enough != nil:
		lines = append(lines, "not enough credit")
	case action == ocs.PriceEnquiry && e.Cost != "":
		lines = append(lines, fmt.Sprintf("costs %s (currency %d)", e.Cost, e.Currency))
	case e.Cost != "":
		lines = append(lines, fmt.Sprintf("charged %s (currency %d)", e.Cost, e.Currency))
	}
	if e.Token != "" {
		lines = append(lines, "to refund it: --token "+e.Token)
	}
	lines = append(lines, fmt.Sprintf("Result-Code %d from %s, session %s", e.Code, e.Server, e.Session))
	return strings.Join(lines, "\n") + "\n"
}

// connectTool opens a connection for one command, under an identity of its own; end
// takes it down in order. What the flags leave open is filled in by the configuration.
func (c *invocation) connectTool(o *eventFlags) (client *gy.Client, end func() error, err error) {
	cfg, err := c.place.load()
	if err != nil {
		return nil, nil, err
	}
	if o.server == "" {
		o.server = ownTarget(cfg.Diameter.Listen)
	}
	if _, _, err := net.SplitHostPort(o.server); err != nil {
		return nil, nil, usage("--server: %w", err)
	}
	dictionary, err := diameter.NewDictionary()
	if err != nil {
		return nil, nil, fmt.Errorf("dictionary: %w", err)
	}
	if o.realm == "" {
		o.realm = cfg.Node.OCS.Realm
	}
	// Each command is a new start of this node: the second is its Origin-State-Id.
	local := diameter.Origin{Host: toolHost(cfg.Node), Realm: cfg.Node.VPN.Realm, StateID: uint32(time.Now().Unix())}
	wait, cancel := context.WithTimeout(c.ctx, eventConnect)
	defer cancel()
	trouble := &lastTrouble{tell: unlessBusy(cancel)}
	link, err := peer.NewClient(peer.ClientConfig{
		Local:      peer.Local{Host: local.Host, Realm: local.Realm, OriginStateID: local.StateID, Product: "gygate"},
		Peers:      []peer.Endpoint{{Address: o.server, Host: o.host, Realm: o.realm}},
		Dictionary: dictionary, Logger: slog.New(trouble),
	}, nil)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(c.ctx))
	ended := make(chan error, 1)
	go func() { ended <- link.Run(run) }()
	end = func() error { stop(); return <-ended }
	if err := link.WaitOpen(wait); err != nil {
		return nil, nil, exitWith(exitUnreachable, errors.Join(fmt.Errorf("no connection to %s as %s: %s\n"+eventRemedy, o.server, local.Host, trouble.text(), local.Host), end()))
	}
	return gy.NewClient(gy.ClientConfig{Local: local, Realm: o.realm, Tx: cfg.Charging.Tx}, link), end, nil
}

// unlessBusy ends a wait when a connection has failed, but not when it was refused
// because another command has the one of this identity: that is soon through.
func unlessBusy(end func()) func(error) {
	return func(err error) {
		fault := (*diameter.Error)(nil)
		if !errors.As(err, &fault) || fault.Code != diameter.ElectionLost {
			end()
		}
	}
}
