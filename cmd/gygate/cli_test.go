package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"gygate/cmd/gygate/sample"
	"gygate/sql/localpg"
	"gygate/sql/sqltest"
)

// gygate runs a command line in the process.
func gygate(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// on runs a command against a database and decodes its JSON.
func on(t *testing.T, dsn string, into any, args ...string) (code int, errs string) {
	t.Helper()
	code, out, errs := gygate(t, append(args, "--dsn", dsn, "--json")...)
	if out != "" && into != nil {
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("gygate %s printed no JSON: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return code, errs
}

func TestExitCodes(t *testing.T) {
	dsn := sqltest.Database(t)
	configuration := func(name, text string) (path string) {
		path = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	faulty := configuration("faulty.yaml", "ocs: {lane: 2}\nhttp: {port: 1}\n")
	elsewhere := configuration("elsewhere.yaml", "diameter: {listen: ['0.0.0.0:1']}\n")
	closed := "postgres://nobody@127.0.0.1:1/none?connect_timeout=1"
	for _, tc := range []struct {
		args string
		code int
		errs string // part of what is said
	}{
		{"version", exitOK, ""},
		{"config example", exitOK, ""},
		{"config check", exitOK, ""},
		{"verify --dsn " + dsn, exitOK, ""},
		{"account show 493023125001 --dsn " + dsn, exitRefused, "no such account"},
		{"account topup 493023125001 --amount 1 --dsn " + dsn, exitRefused, "no such account"},
		{"session close nowhere;1;2 --dsn " + dsn, exitRefused, "no such open session"},
		{"member create 493023125001 --group 1 --dsn " + dsn, exitRefused, "does not exist"},
		{"session close --dsn " + dsn, exitUsage, "accepts 1 arg"},
		{"service set 32251@3gpp.org --final explode --dsn " + dsn, exitUsage, "--final"},
		{"service set 32251@3gpp.org --final redirect --dsn " + dsn, exitRefused, "say where to"},
		{"service list --dsn " + closed, exitUnreachable, "does not answer"},
		{"event borrow 493023125001", exitUsage, "is none of balance"},
		{"event debit 493023125001 --units 1 --server 127.0.0.1:1", exitUnreachable, "--server"},
		{"event debit 493023125001 --units 1 --config " + elsewhere, exitUnreachable, "no connection to 127.0.0.1:1 "},
		{"event debit 493023125001 --config " + faulty, exitConfig, "ocs.lane"},
		{"frobnicate", exitUsage, "unknown command"},
		{"account show", exitUsage, "accepts 1 arg"},
		{"account show 1 --colour", exitUsage, "unknown flag"},
		{"account create nobody --dsn " + dsn, exitUsage, "no identity"},
		{"account create 493023125001 --balance ten --dsn " + dsn, exitUsage, "--balance"},
		{"account set 493023125001 --dsn " + dsn, exitUsage, "at least one of the flags"},
		{"account set 493023125001 --lost a --blocked b --dsn " + dsn, exitUsage, "none of the others can be"},
		{"account set 493023125001 --valid-until soon --dsn " + dsn, exitUsage, "--valid-until"},
		{"account import nowhere.csv --dsn " + dsn, exitUsage, "no such file"},
		{"serve --role both", exitUsage, "--role"},
		{"serve --quickstart --role ocs", exitUsage, "--quickstart"},
		{"call --from 1", exitUsage, "to"},
		{"call --from 1 --to 2 --network carrier-pigeon", exitUsage, "--network"},
		{"call --from 1 --to 2 --network tcp --via 127.0.0.1:1", exitUnreachable, "127.0.0.1:1"},
		{"verify --data nowhere", exitUnreachable, "no books in nowhere"},
		{"account create 493023125001 --data nowhere", exitUnreachable, "--data"},
		{"call --from 1 --to 2 --network tcp --via 127.0.0.1:1", exitUnreachable, "does a gygate serve there?"},
		{"verify --dsn " + closed, exitUnreachable, "does not answer"},
		{"config check " + faulty, exitConfig, "ocs.lane: unknown key"},
		{"config check nowhere.yaml", exitConfig, "nowhere.yaml"},
		{"verify --config " + faulty, exitConfig, "http.port"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, _, errs := gygate(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(errs, tc.errs) {
				t.Errorf("exit code %d, want %d; said %q, want %q", code, tc.code, errs, tc.errs)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o, e bytes.Buffer
	if code := execute(ctx, []string{"verify", "--dsn", sqltest.Database(t)}, &o, &e); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, e.String())
	}
}

// Every command has help; every one that does something has an example and a
// story for its arguments.
func TestHelpIsComplete(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no help", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.Args == nil && cmd.Name() != "emergency" {
			t.Errorf("%s takes any arguments", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).newRoot())
	code, out, _ := gygate(t, "--help")
	if code != exitOK || !strings.Contains(out, "Exit codes:") {
		t.Errorf("exit code %d, help\n%s", code, out)
	}
}

func TestAccountCommands(t *testing.T) {
	dsn := sqltest.Database(t)
	type account struct {
		Identities        []string
		Available, Frozen string
		Spent, Debt       string
		Threshold         string
		ValidUntil        *time.Time `json:"valid_until"`
		Lost, Blocked     *struct{ Reason, By string }
		OpenSessions      []any `json:"open_sessions"`
		Closed            bool
	}
	const number = "493023125001"
	var a account
	step := func(args ...string) {
		t.Helper()
		a = account{}
		if code, errs := on(t, dsn, &a, append([]string{"account"}, args...)...); code != exitOK {
			t.Fatalf("account %q: exit code %d: %s", args, code, errs)
		}
	}
	step("create", number, "--identity", "imsi:262011234567890", "--balance", "10", "--valid-until", "2099-01-01")
	step("topup", number, "--amount", "2.50", "--key", "k1", "--source", "voucher")
	step("topup", number, "--amount", "2.50", "--key", "k1", "--source", "voucher") // a repeat credits nothing
	if a.Available != "12.50" {
		t.Errorf("after the top-ups available %s", a.Available)
	}
	step("set", number, "--lost", "left in a cab", "--threshold", "1.5")
	step("show", "imsi:262011234567890")
	if a.Lost == nil || a.Lost.Reason != "left in a cab" || a.Lost.By == "" || a.Blocked != nil || a.Threshold != "1.50" {
		t.Errorf("after set: %+v", a)
	}
	if !slices.Equal(a.Identities, []string{number, "imsi:262011234567890"}) || a.ValidUntil == nil || a.OpenSessions == nil {
		t.Errorf("show: %+v", a)
	}
	step("set", number, "--found", "--valid-until", "")
	if a.Lost != nil || a.ValidUntil != nil || a.Frozen != "0.00" || a.Spent != "0.00" || a.Debt != "0.00" {
		t.Errorf("after the second set: %+v", a)
	}
	var rows []journalLine
	if code, errs := on(t, dsn, &rows, "account", "journal", number); code != exitOK || len(rows) != 2 || rows[1].Credited != "2.50" || rows[1].Key != "k1" {
		t.Errorf("journal: exit code %d, %s, %+v", code, errs, rows)
	}
	if code, out, _ := gygate(t, "account", "show", number, "--dsn", dsn); code != exitOK || !strings.Contains(out, "available  12.50") {
		t.Errorf("exit code %d, shown as\n%s", code, out)
	}
	if code, errs := on(t, dsn, nil, "account", "create", number); code != exitRefused || !strings.Contains(errs, number) {
		t.Errorf("created twice: exit code %d, %s", code, errs)
	}
}

func TestImports(t *testing.T) {
	dsn := sqltest.Database(t)
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		what, csv        string
		flags            []string
		code             int
		imported, faulty int64
	}{
		{"group", "id,country_code,name,escape_code,short_digits\n7001,49,acme,0,4\n", nil, exitOK, 1, 0},
		{"member", "number,group,short_number,prepaid\n493023125001,7001,6001,true\n493023125002,9999,6002,true\n", nil, exitRefused, 1, 1},
		{"account", "msisdn,balance\n493023125001,10\n493023125002,lots\n", []string{"--all-or-nothing"}, exitRefused, 0, 1},
		{"account", "msisdn,balance\n493023125001,10\n493023125002,lots\n493023125003,1.5\n", nil, exitRefused, 2, 1},
	} {
		t.Run(tc.what+strings.Join(tc.flags, ""), func(t *testing.T) {
			var r importReport
			code, errs := on(t, dsn, &r, append([]string{tc.what, "import", file(tc.what+".csv", tc.csv)}, tc.flags...)...)
			if code != tc.code || r.Imported != tc.imported || r.Faulty != tc.faulty {
				t.Errorf("exit code %d, %+v, %s", code, r, errs)
			}
			if tc.faulty > 0 && (len(r.Faults) == 0 || r.Faults[0].Line != 3 || r.Faults[0].Reason == "") {
				t.Errorf("faults %+v", r.Faults)
			}
		})
	}
	code, out, errs := gygate(t, "account", "import", file("a.csv", "msisdn,balance\nx,1\n"), "--dsn", dsn)
	if code != exitRefused || !strings.Contains(errs, "line 2: ") || !strings.Contains(out, "imported 0 of 1 lines") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestTariffCommands(t *testing.T) {
	dsn := sqltest.Database(t)
	path := filepath.Join(t.TempDir(), "tariff.csv")
	csv := "id,rating_group,unit,currency,price,per,fee,bands\nday,100,seconds,978,0.60,60,0.05,\"sat,sun 00:00-24:00 0.10; 18:00-24:00 0.20\"\n"
	if err := os.WriteFile(path, []byte(csv), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, errs := on(t, dsn, nil, "tariff", "import", path); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var lines []tariffLine
	code, errs := on(t, dsn, &lines, "tariff", "list")
	if code != exitOK || len(lines) != 1 {
		t.Fatalf("exit code %d, %s, %+v", code, errs, lines)
	}
	l := lines[0]
	if l.Price.String() != "0.60" || l.Fee.String() != "0.05" || l.Unit != "seconds" || len(l.Bands) != 2 {
		t.Errorf("%+v", l)
	}
	if want := (bandLine{Days: []string{"sat", "sun"}, From: "00:00", Until: "24:00", Price: 100_000}); fmt.Sprint(l.Bands[0]) != fmt.Sprint(want) {
		t.Errorf("band %+v, want %+v", l.Bands[0], want)
	}
}

func TestGroupAndMemberCommands(t *testing.T) {
	dsn := sqltest.Database(t)
	for _, args := range []string{
		"group create 7001 --name acme --country 49 --escape 0 --short-digits 4 --forced-on-net",
		"group emergency 112 110",
		"member create +493023125001 --group 7001 --short 6001 --prepaid --bar-international",
	} {
		if code, errs := on(t, dsn, nil, strings.Fields(args)...); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", args, code, errs)
		}
	}
	var members []map[string]any
	if code, _ := on(t, dsn, &members, "member", "list", "--group", "7001"); code != exitOK || len(members) != 1 || members[0]["number"] != "493023125001" || members[0]["prepaid"] != true {
		t.Errorf("members %+v", members)
	}
	if code, out, _ := gygate(t, "member", "list", "--dsn", dsn); code != exitOK || !strings.Contains(out, "international") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	var groups []map[string]any
	if code, _ := on(t, dsn, &groups, "group", "list"); code != exitOK || len(groups) != 1 || groups[0]["id"] != "7001" {
		t.Errorf("groups %+v", groups)
	}
	var numbers []string
	if code, _ := on(t, dsn, &numbers, "group", "emergency"); code != exitOK || !slices.Equal(slices.Sorted(slices.Values(numbers)), []string{"110", "112"}) {
		t.Errorf("emergency numbers %q", numbers)
	}
	var none []any
	if code, _ := on(t, dsn, &none, "record", "list"); code != exitOK || none == nil {
		t.Errorf("no records are printed as %v, want an empty list", none)
	}
}

// A database whose books were tampered with fails verify with exit code 1.
func TestVerifyFindsViolations(t *testing.T) {
	dsn := sqltest.Database(t)
	if code, errs := on(t, dsn, nil, "account", "create", "493023125001", "--balance", "10"); code != exitOK {
		t.Fatal(errs)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "update balance set amount = amount + 1"); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Found      int64
		Violations []struct{ Rule, Detail string }
	}
	code, errs := on(t, dsn, &report, "verify")
	if code != exitRefused || report.Found != 1 || report.Violations[0].Rule != "amount" {
		t.Errorf("exit code %d, %+v, %s", code, report, errs)
	}
	code, out, _ := gygate(t, "verify", "--dsn", dsn)
	if code != exitRefused || !strings.Contains(out, "1 VIOLATIONS") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// The number it names leads to the account.
	_, found, _ := strings.Cut(out, "account ")
	number, _, _ := strings.Cut(found, ",")
	var account struct{ Identities []string }
	if code, errs := on(t, dsn, &account, "account", "show", number); code != exitOK || !slices.Contains(account.Identities, "493023125001") {
		t.Errorf("show %q: exit code %d, %+v, %s", number, code, account, errs)
	}
}

// migrate brings an empty database to this binary's schema; before, commands
// name the remedy.
func TestMigrate(t *testing.T) {
	dsn := emptyDatabase(t)
	if code, _, errs := gygate(t, "verify", "--dsn", dsn); code != exitUnreachable || !strings.Contains(errs, "gygate migrate") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	var versions map[string]int64
	if code, errs := on(t, dsn, &versions, "migrate"); code != exitOK || versions["from"] != 0 || versions["to"] < 2 {
		t.Errorf("exit code %d, %v, %s", code, versions, errs)
	}
	if code, _, errs := gygate(t, "verify", "--dsn", dsn); code != exitOK {
		t.Errorf("after migrate: exit code %d: %s", code, errs)
	}
}

// emptyDatabase is a test database without tables.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	dsn := sqltest.Database(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "drop schema public cascade; create schema public"); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Commands find the embedded database of a serving gygate, and start that of one
// that does not serve.
func TestCommandsFindTheEmbeddedDatabase(t *testing.T) {
	liveStage(t)
	t.Run("serving", func(t *testing.T) {
		code, out, errs := gygate(t, "account", "show", string(sample.Number("6006")), "--data", live.data, "--json")
		// Money is text everywhere, also in the single balances.
		if code != exitOK || !strings.Contains(out, `"available": "`) || !strings.Contains(out, `"amount": "`) {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if code, _, errs := gygate(t, "migrate", "--data", live.data); code != exitOK {
			t.Errorf("migrate: exit code %d: %s", code, errs)
		}
	})
	t.Run("not serving", func(t *testing.T) {
		data, err := temporaryFolder()
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(filepath.Dir(data))
		for try, schema := range []string{"made", "left alone"} {
			var versions map[string]int64
			code, out, errs := gygate(t, "migrate", "--data", data, "--json")
			if err := json.Unmarshal([]byte(out), &versions); err != nil || code != exitOK || (versions["from"] == versions["to"]) != (try == 1) {
				t.Errorf("migrate, the schema to be %s: exit code %d, %v\n%s%s", schema, code, err, out, errs)
			}
		}
		for _, args := range []string{"account create 493023125001 --balance 3", "account show 493023125001"} {
			if code, out, errs := gygate(t, append(strings.Fields(args), "--data", data, "--json")...); code != exitOK {
				t.Errorf("%s: exit code %d\n%s%s", args, code, out, errs)
			}
		}
		// Only serve, demo and migrate change a schema that is there.
		older(t, data)
		if code, _, errs := gygate(t, "account", "show", "493023125001", "--data", data); code != exitUnreachable || !strings.Contains(errs, "gygate migrate") {
			t.Errorf("books of an older schema: exit code %d\n%s", code, errs)
		}
	})
}

// older makes the books in a folder say that they are one version behind.
func older(t *testing.T, data string) {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Options{DataDir: postgresFolder(data)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(t.Context())
	conn, err := pgx.Connect(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "delete from goose_db_version where version_id = (select max(version_id) from goose_db_version)"); err != nil {
		t.Fatal(err)
	}
}

func TestCallCommand(t *testing.T) {
	s := liveStage(t)
	via := []string{"--via", s.sipAddr()}
	t.Run("connected", func(t *testing.T) {
		var r callResult
		code, out, errs := gygate(t, append(via, "call", "--from", string(sample.Number("6004")), "--to", "6002", "--talk", "200ms", "--json")...)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if code != exitOK || !r.Connected || r.Status != 200 || r.HungUp != "self" || r.Talked < 0.2 {
			t.Errorf("exit code %d, %+v, %s", code, r, errs)
		}
	})
	t.Run("refused", func(t *testing.T) {
		code, out, errs := gygate(t, append(via, "call", "--from", string(sample.Number("6015")), "--to", "6002")...)
		if code != exitRefused || !strings.Contains(out, "403") || !strings.Contains(errs, "cause=21") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	})
}

// config check prints what is in effect and hides the secret.
func TestConfigCheckMasksSecrets(t *testing.T) {
	code, out, _ := gygate(t, "config", "check", "--dsn", "postgres://me:s3cret@db.example/gygate")
	if code != exitOK || strings.Contains(out, "s3cret") || !strings.Contains(out, "db.example") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestVersionJSON(t *testing.T) {
	_, out, _ := gygate(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(v)); !slices.Equal(got, []string{"go", "platform", "version"}) {
		t.Errorf("keys %q", got)
	}
}
