package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gygate/cmd/gygate/ladder"
	"gygate/ocs"
	"gygate/ocs/pgstore"
)

func newAccountCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Create, show, top up, change and import prepaid accounts",
		Long: `An account is named by any of its identities: digits (E.164), imsi:…, sip:…, nai:… or
private:…; or by the number under which gygate verify lists it, id:…. Amounts are decimals of the account's currency, which is an ISO 4217
number (978 is EUR).`,
	}
	cmd.AddCommand(newAccountCreate(a), newAccountShow(a), newAccountJournal(a), newAccountTopUp(a), newAccountSet(a),
		newImportCommand(a, "accounts", "Columns: msisdn, balance; optionally imsi, currency, valid_until, threshold.",
			"  gygate account import subscribers.csv\n  gygate account import subscribers.csv --all-or-nothing --json", importAccounts))
	return cmd
}

func newAccountCreate(a *app) *cobra.Command {
	var balance, threshold, from, until string
	var more, added []string
	var currency uint16
	n := pgstore.NewAccount{}
	cmd := &cobra.Command{
		Use:   "create IDENTITY",
		Short: "Open an account with a money balance",
		Example: "  gygate account create 493023125007 --balance 10\n" +
			"  gygate account create 493023125007 --identity imsi:262011234567890 --balance 10 --threshold 0.50 --valid-until 2027-01-01\n" +
			"  gygate account create 493023125007 --balance 10 --add-balance unit=seconds,amount=3600,services=32260@3gpp.org,targets=100",
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			var err error
			if n.Identities, err = parseIdentities(append(c.args, more...)); err != nil {
				return err
			}
			n.Currency = ocs.Currency(currency)
			if n.Balance, err = parseMoney("--balance", balance); err != nil {
				return err
			}
			if n.Balances, err = openingBalances(n.Balance, added); err != nil {
				return err
			}
			if n.Threshold, err = parseMoney("--threshold", threshold); err != nil {
				return err
			}
			if n.ValidFrom, err = parseDay("--valid-from", from); err != nil {
				return err
			}
			if n.ValidUntil, err = parseDay("--valid-until", until); err != nil {
				return err
			}
			return c.withAccounts(func(admin *pgstore.Admin) (pgstore.AccountInfo, error) { return admin.CreateAccount(c.ctx, n) })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&balance, "balance", "0", "opening balance")
	f.StringArrayVar(&added, "add-balance", nil, "a further balance, such as `unit=seconds,amount=3600,services=32260@3gpp.org,targets=100 101,priority=-1,until=2027-01-01`")
	f.Uint16Var(&currency, "currency", 978, "ISO 4217 number")
	f.StringSliceVar(&more, "identity", nil, "further identities")
	f.StringVar(&threshold, "threshold", "0", "least available amount at which service is allowed")
	f.StringVar(&from, "valid-from", "", "day or RFC 3339 time; empty: at once")
	f.StringVar(&until, "valid-until", "", "day or RFC 3339 time, exclusive; empty: for ever")
	f.StringVar(&n.Class, "class", "", "service class")
	f.StringVar(&n.Zone, "zone", "", "IANA time zone")
	a.jsonFlag(cmd)
	return cmd
}

func newAccountShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show IDENTITY", Short: "Show an account: balances, flags, validity, open sessions",
		Example: "  gygate account show 493023125001 --json", Args: cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			return c.withAccounts(func(admin *pgstore.Admin) (pgstore.AccountInfo, error) { return admin.Show(c.ctx, c.args[0]) })
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func newAccountJournal(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "journal IDENTITY", Short: "Show the last rows of an account's journal, oldest first",
		Example: "  gygate account journal 493023125001 --limit 50", Args: cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			return c.withBooks(func(b *books) error {
				admin := pgstore.NewAdmin(b.pool)
				rows, err := admin.Journal(c.ctx, c.args[0], limit)
				if err != nil {
					return err
				}
				if !c.json {
					return ladder.WriteJournal(c.out, rows)
				}
				account, err := admin.Show(c.ctx, c.args[0])
				if err != nil {
					return err
				}
				return printJSON(c.out, journalLines(rows, account.Balances))
			})
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", journalShown, "most rows")
	a.jsonFlag(cmd)
	return cmd
}

func newAccountTopUp(a *app) *cobra.Command {
	var t pgstore.TopUp
	var amount string
	var payDebt bool
	cmd := &cobra.Command{
		Use:   "topup IDENTITY --amount AMOUNT",
		Short: "Credit an account",
		Long: `A top-up with a key happens once, however often it is sent: give --key when a script may
repeat. Without one, a random key is used.`,
		Example: "  gygate account topup 493023125001 --amount 5.00 --key voucher-8271 --source voucher",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(c *invocation) error {
			var err error
			t.Identity = c.args[0]
			if t.Amount, err = parseMoney("--amount", amount); err != nil {
				return err
			}
			if t.Key == "" {
				t.Key = rand.Text()
			}
			if payDebt {
				t.Debt = pgstore.PayDebt
			}
			t.By = operator()
			return c.withAccounts(func(admin *pgstore.Admin) (pgstore.AccountInfo, error) { return admin.TopUp(c.ctx, t) })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&amount, "amount", "", "how much, for example 5.00")
	f.StringVar(&t.Key, "key", "", "idempotency key")
	f.StringVar(&t.Source, "source", "top-up", "top-up, voucher or adjustment")
	f.BoolVar(&payDebt, "pay-debt", false, "take the account's debt out of the credit first")
	cobra.CheckErr(cmd.MarkFlagRequired("amount"))
	a.jsonFlag(cmd)
	return cmd
}

func newAccountSet(a *app) *cobra.Command {
	var o setOptions
	cmd := &cobra.Command{
		Use:   "set IDENTITY",
		Short: "Change an account: lost, blocked, closed, validity, threshold",
		Long: `A serving gygate tells the clients of open sessions at once: an account that is blocked,
lost or closed has its calls ended (Abort-Session-Request) and its data sessions asked to
come back, where they are refused (gygate service set --on-bar); one that may be used
again, or whose validity or threshold has changed, is asked for anew (Re-Auth-Request).`,
		Example: "  gygate account set 493023125001 --lost 'left in a cab'\n  gygate account set 493023125001 --found\n" +
			"  gygate account set 493023125001 --blocked theft\n  gygate account set 493023125001 --valid-until 2027-06-30 --threshold 1",
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&o.lost, "lost", "", "reported lost, for this `REASON`")
	f.BoolVar(&o.found, "found", false, "no longer lost")
	f.StringVar(&o.blocked, "blocked", "", "blocked by the operator, for this `REASON`")
	f.BoolVar(&o.unblocked, "unblocked", false, "no longer blocked")
	f.BoolVar(&o.closed, "closed", false, "closed; --closed=false opens it again")
	f.StringVar(&o.from, "valid-from", "", "day or RFC 3339 time; empty: always")
	f.StringVar(&o.until, "valid-until", "", "day or RFC 3339 time, exclusive; empty: for ever")
	f.StringVar(&o.threshold, "threshold", "0", "least available amount at which service is allowed")
	f.StringVar(&o.class, "class", "", "service class")
	f.StringVar(&o.zone, "zone", "", "IANA time zone")
	a.jsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("lost", "found", "blocked", "unblocked")
	cmd.MarkFlagsOneRequired("lost", "found", "blocked", "unblocked", "closed", "valid-from", "valid-until", "threshold", "class", "zone")
	cmd.RunE = a.run(func(c *invocation) error {
		s, err := o.settings(cmd)
		if err != nil {
			return err
		}
		return c.withAccounts(func(admin *pgstore.Admin) (pgstore.AccountInfo, error) { return admin.Set(c.ctx, c.args[0], s) })
	})
	return cmd
}

// setOptions are the flags of account set.
type setOptions struct {
	lost, blocked                       string
	found, unblocked, closed            bool
	threshold, from, until, class, zone string
}

// settings are the changes that stand on the command line.
func (o setOptions) settings(cmd *cobra.Command) (pgstore.Settings, error) {
	s := pgstore.Settings{By: operator(), Reason: o.lost + o.blocked,
		Closed: given(cmd, "closed", o.closed), Class: given(cmd, "class", o.class), Zone: given(cmd, "zone", o.zone)}
	s.Lost, s.Blocked = given(cmd, "lost", true), given(cmd, "blocked", true)
	no := false
	if o.found {
		s.Lost = &no
	}
	if o.unblocked {
		s.Blocked = &no
	}
	threshold, err := parseMoney("--threshold", o.threshold)
	if err != nil {
		return s, err
	}
	from, err := parseDay("--valid-from", o.from)
	if err != nil {
		return s, err
	}
	until, err := parseDay("--valid-until", o.until)
	if err != nil {
		return s, err
	}
	s.Threshold, s.ValidFrom, s.ValidUntil = given(cmd, "threshold", threshold), given(cmd, "valid-from", from), given(cmd, "valid-until", until)
	return s, nil
}

// given is a pointer to a flag's value, nil when the flag was not on the command
// line.
func given[T any](cmd *cobra.Command, flag string, value T) *T {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return &value
}

// withAccounts works on accounts and prints the one that results.
func (c *invocation) withAccounts(work func(*pgstore.Admin) (pgstore.AccountInfo, error)) error {
	return c.withBooks(func(b *books) error {
		info, err := work(pgstore.NewAdmin(b.pool))
		if err != nil {
			return err
		}
		if c.json {
			return printJSON(c.out, info)
		}
		return writeAccount(c.out, info)
	})
}

func writeAccount(w io.Writer, i pgstore.AccountInfo) error {
	t := newTable(w, "account\t"+strings.Join(i.Identities, ", "))
	t.row("available\t%s (currency %d)", i.Available, i.Currency)
	t.row("frozen\t%s", i.Frozen)
	t.row("spent\t%s", i.Spent)
	t.row("debt\t%s", i.Debt)
	t.row("threshold\t%s", i.Threshold)
	t.row("validity\t%s (time zone %s)", validityText(i), i.Zone)
	t.row("flags\t%s", flagsText(i))
	for _, b := range i.Balances {
		t.row("balance %d\t%s, of it frozen %s", b.ID, quantityText(b.Unit, b.Amount), quantityText(b.Unit, b.Frozen))
	}
	for _, s := range i.OpenSessions {
		t.row("open session\t%s, frozen %s, charged %s, until %s", s.SessionID, s.Frozen, s.Charged, s.Deadline.Local().Format(time.DateTime))
	}
	return t.flush()
}

func dayText(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.Local().Format(time.DateTime)
}

func validityText(i pgstore.AccountInfo) string {
	if i.ValidFrom == nil && i.ValidUntil == nil {
		return "always"
	}
	return strings.TrimSpace(boundText("from", i.ValidFrom) + " " + boundText("until", i.ValidUntil))
}

func boundText(word string, t *time.Time) string {
	if t == nil {
		return ""
	}
	return word + " " + dayText(t, "")
}

func flagsText(i pgstore.AccountInfo) string {
	var flags []string
	mark := func(name string, flag *ocs.Flag) {
		if flag != nil {
			flags = append(flags, fmt.Sprintf("%s since %s by %s: %s", name, flag.Since.Local().Format(time.DateTime), flag.By, flag.Reason))
		}
	}
	mark("lost", i.Lost)
	mark("blocked", i.Blocked)
	if i.Closed {
		flags = append(flags, "closed")
	}
	if len(flags) == 0 {
		return "none"
	}
	return strings.Join(flags, "; ")
}

func quantityText(unit string, amount int64) string {
	if unit == "money" {
		return amountText(unit, amount)
	}
	return amountText(unit, amount) + " " + unit
}

func parseIdentities(texts []string) ([]ocs.Identity, error) {
	var all []ocs.Identity
	for _, text := range texts {
		id, err := pgstore.ParseIdentity(text)
		if err != nil {
			return nil, usage("%w", err)
		}
		all = append(all, id)
	}
	return all, nil
}

func parseMoney(what, text string) (ocs.Money, error) {
	m, err := ocs.ParseMoney(text)
	if err != nil {
		return 0, usage("%s: %w", what, err)
	}
	return m, nil
}

// parseDay reads a day (UTC midnight) or a time; "" is the zero time.
func parseDay(what, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("%s: %q is neither a day (2027-01-31) nor a time (2027-01-31T12:00:00Z)", what, text)
}

// operator is who gives a command, for the books.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
