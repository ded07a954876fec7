package main

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/sql/sqltest"
)

const dataService = "32251@3gpp.org"

// stored reads a service back from the database.
func stored(t *testing.T, dsn, name string) ocs.ServiceContext {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	all, err := pgstore.NewAdmin(pool).ServiceContexts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no service %s among %+v", name, all)
	return ocs.ServiceContext{}
}

// Each flag of service set changes what it names, and what is not named stays.
func TestServiceSet(t *testing.T) {
	dsn := sqltest.Database(t)
	for _, tc := range []struct {
		flags string
		holds func(s ocs.ServiceContext) bool
	}{
		{"--rating-group 7 --unit octets --refusals service --validity 2m --supervision 10m", func(s ocs.ServiceContext) bool {
			return s.DefaultRatingGroup == 7 && s.Unit == ocs.Octets && s.ItemRefusals && s.Validity == 2*time.Minute && s.Supervision == 10*time.Minute
		}},
		{"--final redirect --redirect url:http://topup.example/", func(s ocs.ServiceContext) bool {
			return s.FinalAction == ocs.FinalRedirect && *s.Redirect == ocs.Redirect{Type: 2, Address: "http://topup.example/"}
		}},
		{"--redirect sip:topup@example", func(s ocs.ServiceContext) bool {
			return *s.Redirect == ocs.Redirect{Type: 3, Address: "sip:topup@example"}
		}},
		{"--final restrict --filter-id garden --filter-id dns", func(s ocs.ServiceContext) bool {
			return s.FinalAction == ocs.FinalRestrict && strings.Join(s.FilterIDs, " ") == "garden dns"
		}},
		{"--final terminate --zero-grant --on-bar ask", func(s ocs.ServiceContext) bool {
			return s.FinalAction == ocs.FinalTerminate && s.ZeroGrant && s.Bar == ocs.BarAsk
		}},
		{"--on-bar abort --hold 5m --consumption 10s", func(s ocs.ServiceContext) bool {
			return s.Bar == ocs.BarAbort && s.HoldSeconds == 300 && s.ConsumptionSeconds == 10 && s.ZeroGrant
		}},
		{"--triggers 1,2,4", func(s ocs.ServiceContext) bool { return len(*s.Triggers) == 3 && (*s.Triggers)[2] == 4 }},
		{"--triggers none", func(s ocs.ServiceContext) bool { return s.Triggers != nil && len(*s.Triggers) == 0 }},
		{"--triggers client --pool --announce 3", func(s ocs.ServiceContext) bool { return s.Triggers == nil && s.Pool && s.Announce == 3 }},
		{"--failure-handling continue --failure-handling gold=retry_and_terminate --debit-failure continue", func(s ocs.ServiceContext) bool {
			return s.FailureHandling[""] == 1 && s.FailureHandling["gold"] == 2 && *s.DebitFailure == 1
		}},
		{"--hold 0s", func(s ocs.ServiceContext) bool {
			return s.HoldSeconds == 0 && s.ConsumptionSeconds == 10 && s.Unit == ocs.Octets && s.DefaultRatingGroup == 7
		}},
		{"--unit money", func(s ocs.ServiceContext) bool { return s.Unit == ocs.Amount }},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			if code, errs := on(t, dsn, nil, append([]string{"service", "set", dataService}, strings.Fields(tc.flags)...)...); code != exitOK {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			if s := stored(t, dsn, dataService); !tc.holds(s) {
				t.Errorf("stored %+v", s)
			}
		})
	}
}

// A filter may hold commas: each flag is one rule.
func TestServiceSetTakesWholeFilters(t *testing.T) {
	dsn := sqltest.Database(t)
	const rule = "permit in ip from any to 192.0.2.0/24 53,80"
	if code, errs := on(t, dsn, nil, "service", "set", dataService, "--final", "restrict", "--filter", rule); code != exitOK {
		t.Fatal(errs)
	}
	if s := stored(t, dsn, dataService); len(s.Filters) != 1 || s.Filters[0] != rule {
		t.Errorf("filters %q", s.Filters)
	}
}

// What cannot be is refused with the flag's name, and changes nothing.
func TestServiceSetRefuses(t *testing.T) {
	dsn := sqltest.Database(t)
	before := stored(t, dsn, dataService)
	for _, tc := range []struct {
		flags string
		code  int
		says  string
	}{
		{"--unit miles", exitUsage, "--unit"},
		{"--refusals never", exitUsage, `"never" is none of command, service`},
		{"--final explode", exitUsage, "--final: \"explode\" is none of redirect, restrict, terminate"},
		{"--redirect carrier:pigeon", exitUsage, "--redirect"},
		{"--on-bar sing", exitUsage, "--on-bar"},
		{"--hold 1500ms", exitUsage, "--hold"},
		{"--triggers one", exitUsage, "--triggers"},
		{"--failure-handling gold=hope", exitUsage, "--failure-handling"},
		{"--debit-failure hope", exitUsage, "--debit-failure"},
		{"--final redirect", exitRefused, "say where to"},
		{"--final restrict", exitRefused, "say what stays allowed"},
		{"--colour red", exitUsage, "unknown flag"},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			code, errs := on(t, dsn, nil, append([]string{"service", "set", dataService}, strings.Fields(tc.flags)...)...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit code %d, want %d: %s", code, tc.code, errs)
			}
		})
	}
	if after := stored(t, dsn, dataService); after.Unit != before.Unit || after.FinalAction != before.FinalAction || after.HoldSeconds != before.HoldSeconds {
		t.Errorf("service %+v, was %+v", after, before)
	}
}

func TestServiceList(t *testing.T) {
	dsn := sqltest.Database(t)
	if code, errs := on(t, dsn, nil, strings.Fields("service set 99@example.org --unit events --rating-group 9 --validity 90s --final redirect --redirect url:http://x.example/ --on-bar ask --hold 1m")...); code != exitOK {
		t.Fatal(errs)
	}
	var lines []serviceLine
	code, errs := on(t, dsn, &lines, "service", "list")
	if code != exitOK || len(lines) < 2 {
		t.Fatalf("exit code %d, %s, %+v", code, errs, lines)
	}
	found := false
	for _, l := range lines {
		if l.Name == "99@example.org" {
			found = l.RatingGroup == 9 && l.Unit == "events" && l.Validity == "1m30s" && l.Supervision == "policy" && l.Refusals == "command" &&
				l.Options.HoldSeconds == 60 && l.Options.Bar == ocs.BarAsk
		}
	}
	if !found {
		t.Errorf("%+v", lines)
	}
	_, out, _ := gygate(t, "service", "list", "--dsn", dsn)
	if !strings.Contains(out, "redirect to http://x.example/  ask") {
		t.Errorf("table\n%s", out)
	}
}
