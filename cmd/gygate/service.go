package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/ocs"
	"gygate/ocs/pgstore"
)

func newServiceCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "service", Short: "List and set the services that are charged (Service-Context-Id)"}
	cmd.AddCommand(newServiceList(a), newServiceSet(a))
	return cmd
}

func newServiceList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the services and what was set for them", Example: "  gygate service list --json", Args: cobra.NoArgs,
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				tariff, err := pgstore.NewAdmin(b.pool).Tariff(c.ctx)
				if err != nil {
					return err
				}
				lines := []serviceLine{}
				for _, s := range tariff.Contexts() {
					lines = append(lines, newServiceLine(s))
				}
				return c.list(lines, len(lines), "SERVICE\tRATING GROUP\tUNIT\tREFUSALS\tVALIDITY\tFINAL UNITS\tWHEN BARRED\tQUOTA HOLDING", func(t *table) {
					for _, l := range lines {
						t.row("%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", l.Name, l.RatingGroup, l.Unit, l.Refusals, l.Validity, l.Final, l.Bar, l.Hold)
					}
				})
			})
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

// serviceLine is a service as it is shown.
type serviceLine struct {
	Name        string             `json:"name"`
	RatingGroup uint32             `json:"default_rating_group"`
	Unit        string             `json:"unit"`
	Refusals    string             `json:"refusals"` // command: the request is refused; service: inside Multiple-Services-Credit-Control
	Validity    string             `json:"validity"` // "policy": ocs.policy's
	Supervision string             `json:"supervision"`
	Options     ocs.ServiceOptions `json:"options"`
	Final       string             `json:"-"`
	Bar         string             `json:"-"`
	Hold        string             `json:"-"`
}

// The words of the command line for the values of the options.
var (
	refusalWords = map[bool]string{false: "command", true: "service"}
	finalWords   = map[ocs.FinalAction]string{ocs.FinalTerminate: "terminate", ocs.FinalRedirect: "redirect", ocs.FinalRestrict: "restrict"}
	barWords     = map[ocs.BarAction]string{ocs.BarDefault: "default", ocs.BarAbort: "abort", ocs.BarAsk: "ask"}
	failWords    = map[uint32]string{0: "terminate", 1: "continue", 2: "retry_and_terminate"}
	debitWords   = map[uint32]string{0: "terminate_or_buffer", 1: "continue"}
)

func newServiceLine(s ocs.ServiceContext) serviceLine {
	l := serviceLine{
		Name: s.Name, RatingGroup: s.DefaultRatingGroup, Unit: cmp.Or(s.Unit.String(), "-"), Refusals: refusalWords[s.ItemRefusals],
		Validity: spanText(s.Validity, "policy"), Supervision: spanText(s.Supervision, "policy"), Options: s.ServiceOptions,
		Final: finalWords[s.FinalAction], Bar: barWords[s.Bar], Hold: spanText(time.Duration(s.HoldSeconds)*time.Second, "-"),
	}
	if s.Redirect != nil {
		l.Final += " to " + s.Redirect.Address
	}
	return l
}

// parseServiceUnit reads what a service counts, which may be money.
func parseServiceUnit(text string) (ocs.UnitKind, error) {
	kind, ok := ocs.ParseUnitKind(text)
	if !ok {
		return 0, fmt.Errorf("%q is none of seconds, octets, events, money", text)
	}
	return kind, nil
}

func spanText(d time.Duration, none string) string {
	if d == 0 {
		return none
	}
	return d.String()
}

func newServiceSet(a *app) *cobra.Command {
	o := &serviceFlags{}
	cmd := &cobra.Command{
		Use:   "set SERVICE",
		Short: "Add a service, or change what is named on the command line",
		Long: `SERVICE is a Service-Context-Id without operator and release labels. What is not named
stays; a new service is charged by time at its default rating group until told otherwise.
A serving gygate takes the change within ocs.tariff_poll.`,
		Example: "  gygate service set 32251@3gpp.org --final redirect --redirect url:http://topup.example/\n" +
			"  gygate service set 32251@3gpp.org --final restrict --filter-id walled-garden --hold 5m --triggers 1,2,4\n" +
			"  gygate service set 32260@3gpp.org --on-bar ask --failure-handling continue --failure-handling gold=retry_and_terminate",
		Args: cobra.ExactArgs(1),
	}
	o.define(cmd)
	a.jsonFlag(cmd)
	cmd.RunE = a.run(func(c *invocation) error {
		return c.withBooks(func(b *books) error {
			if err := unlabelled(c.args[0]); err != nil {
				return err
			}
			admin := pgstore.NewAdmin(b.pool)
			tariff, err := admin.Tariff(c.ctx)
			if err != nil {
				return err
			}
			service := ocs.ServiceContext{Name: c.args[0], Unit: ocs.Seconds}
			if known := tariff.Context(c.args[0]); known != nil {
				service = *known
			}
			if err := o.apply(cmd, &service); err != nil {
				return err
			}
			if err := admin.PutServiceContext(c.ctx, service); err != nil {
				return err
			}
			return c.show(newServiceLine(service), "service %s set\n", service.Name)
		})
	})
	return cmd
}

// unlabelled refuses a name that no request would ever be found under: the labels
// in front of the service's own are left out when it is looked up (TS 32.299 §7.1.12).
func unlabelled(name string) error {
	labels, domain, _ := strings.Cut(name, "@")
	if dot := strings.LastIndexByte(labels, '.'); dot >= 0 && domain != "" {
		return usage("%q: operator and release labels do not belong to the name: say %s@%s", name, labels[dot+1:], domain)
	}
	return nil
}

// serviceFlags are the flags of service set, as texts.
type serviceFlags struct {
	group, announce                      uint32
	unit, refusals, final, redirect, bar string
	triggers, debitFailure               string
	validity, supervision                time.Duration
	filters, filterIDs, failures         []string
	zeroGrant, pool                      bool
	holdFor, consumeFor                  time.Duration
}

func (o *serviceFlags) define(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Uint32Var(&o.group, "rating-group", 0, "prices what names neither rating group nor service")
	f.StringVar(&o.unit, "unit", "seconds", "seconds, octets, events or money")
	f.StringVar(&o.refusals, "refusals", "command", "command: refuse the whole request; service: inside it, the session opens (data gateways)")
	f.DurationVar(&o.validity, "validity", 0, "Validity-Time of its grants; 0: ocs.policy's")
	f.DurationVar(&o.supervision, "supervision", 0, "supervision time (Tcc); 0: ocs.policy's")
	f.StringVar(&o.final, "final", "terminate", "when the final units are used: terminate, redirect or restrict")
	f.StringVar(&o.redirect, "redirect", "", "where to: url:…, sip:…, ipv4:… or ipv6:…")
	f.StringArrayVar(&o.filters, "filter", nil, "what stays allowed: an IPFilterRule; may be repeated")
	f.StringArrayVar(&o.filterIDs, "filter-id", nil, "likewise: the name of a filter the gateway knows")
	f.BoolVar(&o.zeroGrant, "zero-grant", false, "no credit in mid-session: a grant of zero with the final indication instead of 4012")
	f.StringVar(&o.bar, "on-bar", "default", "payer barred in mid-session: abort (ASR), ask (RAR, then 4010) or default")
	f.DurationVar(&o.holdFor, "hold", 0, "Quota-Holding-Time; 0: not sent")
	f.DurationVar(&o.consumeFor, "consumption", 0, "Quota-Consumption-Time; 0: not sent")
	f.StringVar(&o.triggers, "triggers", "client", "Trigger-Types to report on: numbers with commas, none, or client for its own")
	f.BoolVar(&o.pool, "pool", false, "the grants of one session share a credit pool")
	f.Uint32Var(&o.announce, "announce", 0, "Announcement-Identifier before a final grant ends; 0: none")
	f.StringArrayVar(&o.failures, "failure-handling", nil, "[CLASS=]terminate, continue or retry_and_terminate; may be repeated")
	f.StringVar(&o.debitFailure, "debit-failure", "", "Direct-Debiting-Failure-Handling: terminate_or_buffer or continue")
}

// apply changes what stands on the command line.
func (o *serviceFlags) apply(cmd *cobra.Command, s *ocs.ServiceContext) error {
	set := func(flag string, change func() error) error {
		if !cmd.Flags().Changed(flag) {
			return nil
		}
		if err := change(); err != nil {
			return usage("--%s: %w", flag, err)
		}
		return nil
	}
	for _, step := range []struct {
		flag   string
		change func() error
	}{
		{"rating-group", func() error { s.DefaultRatingGroup = o.group; return nil }},
		{"unit", func() (err error) { s.Unit, err = parseServiceUnit(o.unit); return err }},
		{"refusals", func() (err error) { s.ItemRefusals, err = meaningOf(refusalWords, o.refusals); return err }},
		{"validity", func() error { s.Validity = o.validity; return nil }},
		{"supervision", func() error { s.Supervision = o.supervision; return nil }},
		{"final", func() (err error) { s.FinalAction, err = meaningOf(finalWords, o.final); return err }},
		{"redirect", func() (err error) { s.Redirect, err = parseRedirect(o.redirect); return err }},
		{"filter", func() error { s.Filters = o.filters; return checkFilters(o.filters) }},
		{"filter-id", func() error { s.FilterIDs = o.filterIDs; return nil }},
		{"zero-grant", func() error { s.ZeroGrant = o.zeroGrant; return nil }},
		{"on-bar", func() (err error) { s.Bar, err = meaningOf(barWords, o.bar); return err }},
		{"hold", func() (err error) { s.HoldSeconds, err = wholeSeconds(o.holdFor); return err }},
		{"consumption", func() (err error) { s.ConsumptionSeconds, err = wholeSeconds(o.consumeFor); return err }},
		{"triggers", func() (err error) { s.Triggers, err = parseTriggers(o.triggers); return err }},
		{"pool", func() error { s.Pool = o.pool; return nil }},
		{"announce", func() error { s.Announce = o.announce; return nil }},
		{"failure-handling", func() (err error) { s.FailureHandling, err = parseFailures(o.failures); return err }},
		{"debit-failure", func() (err error) { s.DebitFailure, err = parseDebitFailure(o.debitFailure); return err }},
	} {
		if err := set(step.flag, step.change); err != nil {
			return err
		}
	}
	return nil
}

// meaningOf finds the value of a word; the error lists the words there are.
func meaningOf[K comparable](words map[K]string, word string) (K, error) {
	var known []string
	for value, text := range words {
		if text == word {
			return value, nil
		}
		known = append(known, text)
	}
	slices.Sort(known)
	var none K
	return none, fmt.Errorf("%q is none of %s", word, strings.Join(known, ", "))
}

// redirectKinds are Redirect-Address-Types by the word in front of an address; a
// SIP URI is its own word.
var redirectKinds = map[string]uint32{"ipv4": 0, "ipv6": 1, "url": 2, "sip": 3}

func parseRedirect(text string) (*ocs.Redirect, error) {
	if text == "" {
		return nil, nil
	}
	kind, address, _ := strings.Cut(text, ":")
	number, known := redirectKinds[kind]
	if !known || address == "" {
		return nil, fmt.Errorf("%q has none of url:, sip:, ipv4:, ipv6: in front", text)
	}
	if kind == "sip" {
		address = text
	}
	return &ocs.Redirect{Type: number, Address: address}, nil
}

// checkFilters looks at the form of IPFilterRules (RFC 6733 §4.3.1); what they
// allow is the gateway's business.
func checkFilters(rules []string) error {
	for _, rule := range rules {
		f := strings.Fields(rule)
		if len(f) < 7 || f[0] != "permit" && f[0] != "deny" || f[1] != "in" && f[1] != "out" || f[3] != "from" || !slices.Contains(f[5:], "to") {
			return fmt.Errorf("%q is no IPFilterRule such as \"permit out ip from 192.0.2.1 to assigned\"", rule)
		}
	}
	return nil
}

func wholeSeconds(d time.Duration) (uint32, error) {
	if d < 0 || d%time.Second != 0 || d > 1<<31*time.Second {
		return 0, fmt.Errorf("%s is not a number of whole seconds", d)
	}
	return uint32(d / time.Second), nil
}

func parseTriggers(text string) (*[]uint32, error) {
	if text == "client" {
		return nil, nil
	}
	types := []uint32{}
	if text == "none" {
		return &types, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(word), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no Trigger-Type", word)
		}
		types = append(types, uint32(n))
	}
	return &types, nil
}

func parseFailures(texts []string) (map[string]uint32, error) {
	handling := map[string]uint32{}
	for _, text := range texts {
		class, word, both := strings.Cut(text, "=")
		if !both {
			class, word = "", text
		}
		value, err := meaningOf(failWords, word)
		if err != nil {
			return nil, err
		}
		handling[class] = value
	}
	return handling, nil
}

func parseDebitFailure(word string) (*uint32, error) {
	if word == "" {
		return nil, nil
	}
	value, err := meaningOf(debitWords, word)
	return &value, err
}
