package ladder

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"gygate/ocs"
)

// WriteJournal prints rows of an account's journal as a table, oldest first.
func WriteJournal(w io.Writer, rows []ocs.JournalRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "  time\twhat\tused\tdebited\trefunded\treserved\tcredited\tbalance\tfrozen\t")
	for _, r := range rows {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			r.At.Format("15:04:05.000"), What(r), quantity(r.Used), amount(r.Debited), amount(r.Refunded),
			amount(r.Reserved), amount(r.Credited), ocs.Money(r.AmountAfter), ocs.Money(r.FrozenAfter))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print journal: %w", err)
	}
	return nil
}

// What names the cause of a row: "CCR-U #1", "opening", "expire".
func What(r ocs.JournalRow) string {
	letter := map[ocs.StepType]string{ocs.Initial: "I", ocs.Update: "U", ocs.Terminate: "T", ocs.Event: "E"}[r.Type]
	switch {
	case r.Kind == ocs.JournalCredit:
		return strings.TrimSpace("credit " + r.CreditSource)
	case r.Kind == ocs.JournalStep && letter != "":
		return fmt.Sprintf("CCR-%s #%d", letter, r.Number)
	case r.Kind == ocs.JournalStep:
		return fmt.Sprintf("service #%d", r.Number)
	}
	return string(r.Kind)
}

func amount(v int64) string {
	if v == 0 {
		return "."
	}
	return ocs.Money(v).String()
}

func quantity(v int64) string {
	if v == 0 {
		return "."
	}
	return fmt.Sprint(v)
}
