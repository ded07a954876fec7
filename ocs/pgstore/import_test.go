package pgstore

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"gygate/ocs"
)

func TestImportAccounts(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: []ocs.Identity{{Kind: ocs.E164, Value: "4930999"}, {Kind: ocs.IMSI, Value: "262019999999999"}}})
	const file = "\uFEFFMSISDN,balance,imsi,currency,valid_until,threshold\n" +
		"+4930001,10.50,262011111111111,756,2030-12-31,0.5\n" + // 2
		"4930002,0,,,,\n" + // 3
		"4930003,1.0000001,,,,\n" + // 4: too many decimals
		"4930004,-1,,,,\n" + // 5
		"4930001,5,,,,\n" + // 6: again
		"4930005,5,262011111111111,,,\n" + // 7: imsi again
		"4930999,5,,,,\n" + // 8: has an account
		"4930006,5,262019999999999,,,\n" + // 9: imsi has an account
		"Ada,5,,,,\n" + // 10
		"4930007,5,12,,,\n" + // 11: no IMSI
		"4930008,5,,1000,,\n" + // 12
		"4930009,5,,,soon,\n" + // 13
		"4930010,5,,,,-2\n" + // 14
		"4930011,5\n" + // 15: columns missing
		"4930012,99999999999999,,,,\n" + // 16: more than can be counted
		"4930013,7,,,2031-01-01T10:00:00+01:00,\n" // 17
	wantFaults := []Fault{
		{4, `balance: "1.0000001": not an amount with at most six decimals`},
		{5, "balance -1 is negative"},
		{6, "msisdn 4930001 stands in line 2 already"},
		{7, "imsi 262011111111111 stands in line 2 already"},
		{8, "msisdn 4930999 has an account already"},
		{9, "imsi 262019999999999 has an account already"},
		{10, `msisdn "Ada" is no E.164 number`},
		{11, `imsi "12" is no IMSI`},
		{12, `currency "1000" is no ISO 4217 number, such as 978`},
		{13, `valid_until "soon" is neither a day (2026-12-31) nor a time of RFC 3339`},
		{14, "threshold -2 is negative"},
		{15, "wrong number of fields"},
		{16, `balance: "99999999999999": amount outside ±9223372036854.775807`},
	}

	report, err := l.admin.ImportAccounts(t.Context(), strings.NewReader(file), ImportOptions{AllOrNothing: true})
	if !errors.Is(err, ErrFaults) || report.Imported != 0 || report.Faulty != int64(len(wantFaults)) {
		t.Errorf("all or nothing: %+v, %v", report, err)
	}
	if n := l.count(t, "account"); n != 1 {
		t.Fatalf("all or nothing left %d accounts, want the one of before", n)
	}

	report, err = l.admin.ImportAccounts(t.Context(), strings.NewReader(file), ImportOptions{})
	if err != nil || report.Lines != 16 || report.Imported != 3 || report.Faulty != int64(len(wantFaults)) {
		t.Errorf("good lines: %+v, %v", report, err)
	}
	if !slices.Equal(report.Faults, wantFaults) {
		t.Errorf("faults\n got %v\nwant %v", report.Faults, wantFaults)
	}
	one, err := l.admin.Show(t.Context(), "imsi:262011111111111")
	if err != nil || one.Available != 10_500_000 || one.Currency != 756 || one.Threshold != 500_000 ||
		!one.ValidUntil.Equal(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) || one.Identities[0] != "4930001" {
		t.Errorf("%+v, %v", one, err)
	}
	two, err := l.admin.Show(t.Context(), "4930002")
	if err != nil || two.Available != 0 || two.Currency != importCurrency || two.ValidUntil != nil || len(two.Balances) != 1 {
		t.Errorf("%+v, %v", two, err)
	}
	if rows, err := l.admin.Journal(t.Context(), "4930013", 0); err != nil || len(rows) != 1 || rows[0].CreditSource != "opening" || rows[0].Credited != 7_000_000 {
		t.Errorf("journal %+v, %v", rows, err)
	}
	l.audit(t)
}

func TestImportRefusesAFileWithoutItsColumns(t *testing.T) {
	l := newLedger(t)
	for name, c := range map[string]struct{ file, says string }{
		"empty":          {"", "header"},
		"no balance":     {"msisdn\n1\n", "column balance is missing"},
		"unknown column": {"msisdn,balance,colour\n", `column "colour" is not known`},
	} {
		if _, err := l.admin.ImportAccounts(t.Context(), strings.NewReader(c.file), ImportOptions{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
}

// A file that breaks off in the middle stores nothing.
func TestImportOfAnUnreadableFile(t *testing.T) {
	l := newLedger(t)
	broken := io.MultiReader(strings.NewReader("msisdn,balance\n1,1\n2,2\n"), failingReader{})
	if _, err := l.admin.ImportAccounts(t.Context(), broken, ImportOptions{}); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
	if n := l.count(t, "account"); n != 0 {
		t.Errorf("%d accounts", n)
	}
}

var errDisk = errors.New("disk on fire")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDisk }

// The report stays small however bad the file is, and the progress is told.
func TestImportOfManyLines(t *testing.T) {
	l := newLedger(t)
	const lines, bad = 12_000, 3_000
	var told int64
	report, err := l.admin.ImportAccounts(t.Context(), accountFile(lines, bad), ImportOptions{Progress: func(done int64) { told = done }})
	if err != nil || report.Lines != lines || report.Imported != lines-bad || report.Faulty != bad || len(report.Faults) != FaultsMax {
		t.Errorf("lines %d, imported %d, faulty %d, listed %d, %v", report.Lines, report.Imported, report.Faulty, len(report.Faults), err)
	}
	if told != lines {
		t.Errorf("progress ended at %d, want %d", told, lines)
	}
	l.audit(t)
}

// accountFile is a file of so many lines, of which the first are bad.
func accountFile(lines, bad int) io.Reader {
	var b strings.Builder
	b.WriteString("msisdn,balance,imsi,valid_until\n")
	for i := range lines {
		if i < bad {
			fmt.Fprintf(&b, "no number %d,1,,\n", i)
			continue
		}
		fmt.Fprintf(&b, "4930%08d,%d.50,26201%010d,2035-12-31\n", i, i%100, i)
	}
	return strings.NewReader(b.String())
}

func BenchmarkImportAccounts(b *testing.B) {
	const lines = 100_000
	for b.Loop() {
		b.StopTimer()
		l := newLedger(b)
		file := accountFile(lines, 0)
		b.StartTimer()
		if report, err := l.admin.ImportAccounts(b.Context(), file, ImportOptions{}); err != nil || report.Imported != lines {
			b.Fatal(report, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "accounts/s")
}
