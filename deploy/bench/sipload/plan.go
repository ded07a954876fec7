package sipload

import (
	"bytes"
	"fmt"
	"io"
)

// Plan is a numbering plan for a load: Members lines in groups of PerGroup, every one
// with a prepaid account. A call is one to a colleague, by his short number. The
// numbers are made up; nothing but a test network has them.
type Plan struct {
	Members  int
	PerGroup int // at most 10,000; 0: 1,000
}

// shortDigits is the length of every short number.
const shortDigits = 4

func (p Plan) perGroup() int {
	if p.PerGroup <= 0 {
		return 1000
	}
	return p.PerGroup
}

// Number is the E.164 number of the i-th member, without '+'.
func (p Plan) Number(i int) string { return fmt.Sprintf("4685%08d", i) }

func (p Plan) short(i int) string { return fmt.Sprintf("%0*d", shortDigits, i%p.perGroup()) }
func (p Plan) group(i int) string { return fmt.Sprintf("load%d", i/p.perGroup()) }

// Call gives calling and dialled number of the n-th call, for Config.Numbers: all
// members call in turn, each the next one of its group.
func (p Plan) Call(n int) (calling, dialled string) {
	caller := n % p.Members
	first := caller - caller%p.perGroup()
	size := min(p.perGroup(), p.Members-first)
	return p.Number(caller), p.short(first + (caller-first+1)%size)
}

// WriteGroups writes the groups as `gygate group import` reads them.
func (p Plan) WriteGroups(w io.Writer) error {
	if _, err := fmt.Fprintln(w, "id,name,customer,country_code,escape_code,short_digits"); err != nil {
		return err
	}
	for i := 0; i < p.Members; i += p.perGroup() {
		if _, err := fmt.Fprintf(w, "%s,%[1]s,%[1]s,46,,%d\n", p.group(i), shortDigits); err != nil {
			return err
		}
	}
	return nil
}

// WriteMembers writes the members as `gygate member import` reads them.
func (p Plan) WriteMembers(w io.Writer) error {
	if _, err := fmt.Fprintln(w, "number,group,short_number,prepaid"); err != nil {
		return err
	}
	for i := range p.Members {
		if _, err := fmt.Fprintf(w, "%s,%s,%s,true\n", p.Number(i), p.group(i), p.short(i)); err != nil {
			return err
		}
	}
	return nil
}

// WriteAccounts writes an account for each member as `gygate account import` reads
// them; balance is a decimal of the currency's unit, currency its ISO 4217 number.
func (p Plan) WriteAccounts(w io.Writer, balance string, currency int) error {
	if _, err := fmt.Fprintln(w, "msisdn,balance,currency"); err != nil {
		return err
	}
	for i := range p.Members {
		if _, err := fmt.Fprintf(w, "%s,%s,%d\n", p.Number(i), balance, currency); err != nil {
			return err
		}
	}
	return nil
}

// Provision imports accounts, groups and members through `gygate WHAT import`.
func (p Plan) Provision(imported func(what, csv string) error, balance string, currency int) error {
	for _, file := range []struct {
		what  string
		write func(io.Writer) error
	}{
		{"account", func(w io.Writer) error { return p.WriteAccounts(w, balance, currency) }},
		{"group", p.WriteGroups},
		{"member", p.WriteMembers},
	} {
		var csv bytes.Buffer
		if err := file.write(&csv); err != nil {
			return err
		}
		if err := imported(file.what, csv.String()); err != nil {
			return err
		}
	}
	return nil
}
