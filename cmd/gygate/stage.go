package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/ladder"
	"gygate/cmd/gygate/sample"
	"gygate/vpnlogic"
	"gygate/vpnlogic/sipgw"
	"gygate/vpnlogic/sipgw/phone"
)

const (
	// recordWait is how long after the phones are done a call record may take:
	// the last charging request and its answer.
	recordWait = 15 * time.Second
	// ringTime is how long the sample's phones ring before they answer.
	ringTime = 150 * time.Millisecond
	// loopbackAny lets the system choose a port.
	loopbackAny = "127.0.0.1:0"
)

// stage is a live gygate with the phones of the sample around it: what the
// quick start, the demo and the tests play on.
type stage struct {
	main   *Main
	seen   *ladder.Collector
	phones *phone.Answerer
	fresh  bool // the sample data was loaded just now
	began  time.Time
	order  int // of the ticket shop, each a charging session of its own
	ran    chan error
	stop   context.CancelFunc
}

// newStage starts the phones, wires a gygate whose calls go to them, loads the
// sample data, and serves until close. An observer of opt watches besides the
// ladder.
func newStage(ctx context.Context, cfg *config.Config, opt Options) (*stage, error) {
	s := &stage{seen: ladder.NewCollector(), ran: make(chan error, 1), began: time.Now()}
	var err error
	s.phones, err = phone.NewAnswerer(phone.AnswererConfig{Listen: loopbackAny, Default: phone.Behaviour{Ring: ringTime}})
	if err != nil {
		return nil, exitWith(exitUnreachable, fmt.Errorf("test phones: %w", err))
	}
	if cfg.SIP.NextHop == "" {
		cfg.SIP.NextHop = s.phones.Addr()
	}
	opt.Observer = observers{s.seen, opt.Observer}
	if s.main, err = New(ctx, cfg, opt); err != nil {
		return nil, errors.Join(err, s.phones.Close())
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// begin loads the sample, serves, and waits until calls can be charged.
func (s *stage) begin(ctx context.Context) error {
	var err error
	if s.fresh, err = loadSample(ctx, s.main); err != nil {
		return err
	}
	if s.fresh {
		s.main.opt.Logger.Info("sample data loaded", "group", sample.Group.ID)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.ran <- s.main.Run(run) }()
	ready, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.main.Ready(ready); err != nil {
		return exitWith(exitUnreachable, err)
	}
	return nil
}

// close winds everything down: calls, Diameter, engine, phones, database.
func (s *stage) close() error {
	var err error
	if s.stop != nil {
		s.stop()
		err = <-s.ran
	}
	return errors.Join(err, s.phones.Close(), s.main.Close())
}

// sipAddr is where to call: the first UDP address of the gateway, loopback for
// one that listens on all addresses.
func (s *stage) sipAddr() string {
	all := s.main.calls.gateway.Addrs()
	at := max(0, slices.IndexFunc(all, func(e sipgw.Endpoint) bool { return e.Network == "udp" }))
	if a, err := netip.ParseAddrPort(all[at].Addr); err == nil {
		return reachable(net.TCPAddrFromAddrPort(a))
	}
	return all[at].Addr
}

// played is a finished call as everybody saw it.
type played struct {
	ladder.Call
	Record *vpnlogic.CallRecord
	Phone  phone.Result
}

// play places a call, waits for its record, and joins it with the journal.
func (s *stage) play(ctx context.Context, from, to string, talk time.Duration) (played, error) {
	result, err := phone.Dial(ctx, phone.DialOptions{From: from, To: to, Via: s.sipAddr(), Talk: talk})
	if err != nil {
		return played{}, err
	}
	return s.finished(ctx, from, result)
}

// finished waits for the record of a call, and joins it with the journal.
func (s *stage) finished(ctx context.Context, from string, result phone.Result) (p played, err error) {
	wait, cancel := context.WithTimeout(ctx, recordWait)
	defer cancel()
	p.Phone = result
	p.Currency = "EUR"
	if p.Events, p.Record, err = s.seen.Wait(wait, result.CallID); err != nil {
		return played{}, err
	}
	if p.Record.Session == "" {
		return p, nil
	}
	if p.Journal, err = s.main.admin.SessionJournal(ctx, p.Record.Session); err != nil || len(p.Journal) == 0 {
		return p, err
	}
	account, err := s.main.admin.Journal(ctx, from, 0)
	p.Elsewhere = ladder.Elsewhere(p.Journal[0].Session, account)
	return p, err
}
