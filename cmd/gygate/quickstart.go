package main

import (
	"fmt"
	"path/filepath"
	"time"

	"gygate/cmd/gygate/config"
	"gygate/cmd/gygate/ladder"
	"gygate/cmd/gygate/sample"
)

const (
	// sampleTalk is how long the sample call talks: it is charged as four
	// whole seconds.
	sampleTalk = 3500 * time.Millisecond
	// journalShown is how many rows of the account's journal are printed.
	journalShown = 20
)

// sampleCall plays one prepaid on-net call and prints its ladder and the
// journal of the account that paid.
func (c *invocation) sampleCall(s *stage) error {
	caller, called := sample.Number("6001"), "6002"
	fmt.Fprintf(c.out, "\nA sample call: %s (short number 6001, prepaid) dials %s and talks %s\n\n", caller, called, sampleTalk)
	p, err := s.play(c.ctx, string(caller), called, sampleTalk)
	if err != nil {
		return fmt.Errorf("sample call: %w", err)
	}
	if err := p.Write(c.out, widthOf(c.out)); err != nil {
		return err
	}
	rows, err := s.main.admin.Journal(c.ctx, string(caller), journalShown)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nThe journal of account %s (money in EUR)\n\n", caller)
	return ladder.WriteJournal(c.out, rows)
}

// nextSteps tells how to go on, with commands to copy.
func (c *invocation) nextSteps(s *stage) {
	name := executable()
	via := ""
	if s.sipAddr() != "127.0.0.1:5060" {
		via = " --via " + s.sipAddr()
	}
	fmt.Fprintf(c.out, "\nThe company %s (group %s) has these lines; their phones answer every call:\n\n", sample.Group.Name, sample.Group.ID)
	for _, l := range sample.Lines() {
		fmt.Fprintf(c.out, "  %-5s %s  %-10s %s\n", l.Short, l.Number, l.Name, l.Shows)
	}
	fmt.Fprintf(c.out, `
A call of your own, in a second terminal:
  %[1]s call --from %[2]s --to 6002 --talk 10s%[4]s
  %[1]s call --from %[3]s --to 004066969100 --talk 5s%[4]s     # out with the escape code 0

What came of it:
  %[1]s account show %[2]s%[5]s
  %[1]s account journal %[2]s%[5]s
  %[1]s record list%[5]s
  %[1]s verify%[5]s                                # do the books add up?

Where to look next: %[1]s demo plays every case; %[1]s config example is the whole
configuration; %[1]s --help lists the rest. With OTEL_EXPORTER_OTLP_ENDPOINT set, each
call is one trace. Your own SIP phone: register nowhere, call sip:6002@%[6]s
with a From of one of the lines.

Serving until Ctrl-C.
`, name, sample.Number("6001"), sample.Number("6006"), via, c.place.again(), s.sipAddr())
}

// again is the flags with which another command finds the same books. A password
// is not repeated.
func (p place) again() string {
	flags := ""
	if p.config != "" {
		flags += " --config " + p.config
	}
	if p.dsn != "" {
		flags += " --dsn '" + config.MaskDSN(p.dsn) + "'"
	}
	if filepath.Clean(p.data) != filepath.Clean(dataDefault) {
		flags += " --data " + p.data
	}
	return flags
}
