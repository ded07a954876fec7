package pgdirectory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"gygate/sql/sqltest"
	"gygate/vpnlogic"
)

func TestMain(m *testing.M) {
	os.Exit(sqltest.Run(m, func() error { return goleak.Find() }))
}

func testPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), sqltest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// fullGroup and fullMembers use every field there is.
var fullGroup = vpnlogic.Group{
	ID: "7001", Name: "Head office", Customer: "acme", SiteCode: "81", CountryCode: "86", AreaCode: "10",
	EscapeCode: "9", ShortDigits: 4, EscapeRequired: true, ForcedOnNet: true,
	Exclusions: []string{"8613700", "8613800"}, TimeZone: "Asia/Shanghai", Payer: vpnlogic.PayerGroup,
	Rules: []vpnlogic.Rule{
		{Prefix: "8690"},
		{Allow: true, Class: vpnlogic.International, Prefix: "49"},
		{Prefix: "8613900000000", Last: "8613900000099"},
	},
	Profiles: []vpnlogic.Profile{
		{Name: "lobby", Bars: vpnlogic.Bars{OffNet: true, International: true}},
		{Name: "night", Rules: []vpnlogic.Rule{{Class: vpnlogic.OffNet, Span: vpnlogic.Span{
			Days: [7]bool{time.Saturday: true, time.Sunday: true}, From: 20 * time.Hour, To: 6*time.Hour + time.Second}}}},
	},
}

var fullMembers = []vpnlogic.Member{
	{Number: "8613800000001", Group: "7001", Short: "6001", Display: "An", Prepaid: true, Profile: "night",
		Rules: []vpnlogic.Rule{{Incoming: true, Prefix: "8613800000002"}, {Allow: true}}},
	{Number: "8613800000002", Group: "7001", Bars: vpnlogic.Bars{Outgoing: true, Incoming: true}},
}

func fill(t *testing.T, a *Admin) {
	t.Helper()
	if err := a.CreateGroup(t.Context(), fullGroup); err != nil {
		t.Fatal(err)
	}
	for _, m := range fullMembers {
		if err := a.CreateMember(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	a := NewAdmin(testPool(t))
	fill(t, a)
	groups, err := a.Groups(t.Context())
	if err != nil || len(groups) != 1 || !reflect.DeepEqual(groups[0], fullGroup) {
		t.Errorf("groups %+v, %v\nwant %+v", groups, err, fullGroup)
	}
	members, err := a.Members(t.Context(), "7001")
	if err != nil || !reflect.DeepEqual(members, fullMembers) {
		t.Errorf("members %+v, %v\nwant %+v", members, err, fullMembers)
	}
	if none, err := a.Members(t.Context(), "7002"); err != nil || len(none) != 0 {
		t.Errorf("members of another group: %+v, %v", none, err)
	}
	emergency, err := a.Emergency(t.Context())
	if err != nil || !reflect.DeepEqual(emergency, []string{"112", "911"}) {
		t.Errorf("emergency numbers %v, %v", emergency, err)
	}
}

func TestUpdates(t *testing.T) {
	pool := testPool(t)
	a, ctx := NewAdmin(pool), t.Context()
	fill(t, a)
	m := fullMembers[0]
	m.Profile, m.Rules, m.Bars.OffNet = "", []vpnlogic.Rule{{Prefix: "1"}}, true
	if err := a.UpdateMember(ctx, m); err != nil {
		t.Fatal(err)
	}
	g := fullGroup
	g.EscapeCode, g.Rules, g.Profiles = "8", nil, g.Profiles[:1]
	if err := a.UpdateGroup(ctx, g); err != nil {
		t.Fatal(err)
	}
	groups, _ := a.Groups(ctx)
	members, _ := a.Members(ctx, "")
	if !reflect.DeepEqual(groups[0], g) || !reflect.DeepEqual(members[0], m) {
		t.Errorf("got %+v and %+v", groups[0], members[0])
	}
	if err := a.RemoveMember(ctx, m.Number); err != nil {
		t.Fatal(err)
	}
	if members, _ = a.Members(ctx, ""); len(members) != 1 {
		t.Errorf("%d members after one is removed", len(members))
	}
	g.ShortDigits = 3
	m.Short = "601"
	if err := a.UpdateGroup(ctx, g); err != nil {
		t.Fatal(err)
	}
	if err := a.CreateMember(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := a.UpdateGroup(ctx, fullGroup); err == nil || !strings.Contains(err.Error(), `short number "601": group "7001" uses 4 digits`) {
		t.Errorf("a member no longer fits his group: %v", err)
	}
}

// TestRefusals: data that the snapshot would not take is not stored, and the
// error says why.
func TestRefusals(t *testing.T) {
	a, ctx := NewAdmin(testPool(t)), t.Context()
	fill(t, a)
	member := func(change func(*vpnlogic.Member)) error {
		m := vpnlogic.Member{Number: "8613800000009", Group: "7001", Short: "6009"}
		change(&m)
		return a.CreateMember(ctx, m)
	}
	tests := []struct {
		what string
		err  error
		is   error
		says string
	}{
		{"group twice", a.CreateGroup(ctx, vpnlogic.Group{ID: "7001", CountryCode: "86"}), ErrExists, "group 7001"},
		{"site code twice", a.CreateGroup(ctx, vpnlogic.Group{ID: "7002", CountryCode: "86", Customer: "acme", SiteCode: "81"}), ErrExists, "site_code"},
		{"group fault", a.CreateGroup(ctx, vpnlogic.Group{ID: "7003", CountryCode: "999"}), nil, `country code "999"`},
		{"update of no group", a.UpdateGroup(ctx, vpnlogic.Group{ID: "7009", CountryCode: "86"}), ErrMissing, "group 7009"},
		{"profile in use", a.UpdateGroup(ctx, func() vpnlogic.Group { g := fullGroup; g.Profiles = nil; return g }()), nil, "has no profile"},
		{"number twice", member(func(m *vpnlogic.Member) { m.Number = "8613800000001" }), ErrExists, "8613800000001"},
		{"short number twice", member(func(m *vpnlogic.Member) { m.Short = "6001" }), ErrExists, "short_number"},
		{"no such group", member(func(m *vpnlogic.Member) { m.Group = "x" }), ErrMissing, `group "x"`},
		{"no such profile", member(func(m *vpnlogic.Member) { m.Profile = "x" }), nil, `no profile "x"`},
		{"emergency number", member(func(m *vpnlogic.Member) { m.Short = "9112" }), nil, "hide an emergency number"},
		{"removal of nobody", a.RemoveMember(ctx, "8613800000099"), ErrMissing, "8613800000099"},
		{"emergency number that a member hides", a.SetEmergency(ctx, []string{"6001"}), nil, "would hide"},
	}
	for _, tt := range tests {
		if tt.err == nil || (tt.is != nil && !errors.Is(tt.err, tt.is)) || !strings.Contains(tt.err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", tt.what, tt.err, tt.says)
		}
	}
	if members, _ := a.Members(ctx, ""); len(members) != len(fullMembers) {
		t.Errorf("%d members are stored", len(members))
	}
}

// TestProvider: a change comes into force by notification, and faulty data
// leaves the last snapshot in force.
func TestProvider(t *testing.T) {
	pool := testPool(t)
	a := NewAdmin(pool)
	fill(t, a)
	p, err := Open(t.Context(), pool, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Changed()
	if groups, members := p.Current().Size(); groups != 1 || members != 2 {
		t.Fatalf("%d groups, %d members", groups, members)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()

	if err := a.SetEmergency(t.Context(), []string{"110", "110"}); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(d *vpnlogic.Directory) bool {
		return d.Emergency(vpnlogic.Attempt{Dialled: "110"}) && !d.Emergency(vpnlogic.Attempt{Dialled: "112"})
	})
	if err := a.CreateMember(t.Context(), vpnlogic.Member{Number: "8613800000003", Group: "7001"}); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(d *vpnlogic.Directory) bool { _, ok := d.Member("8613800000003"); return ok })

	if _, err := pool.Exec(t.Context(), "update vpn_group set country_code = '999'"); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `"999"`) {
		t.Errorf("faulty data was loaded: %v", err)
	}
	if _, ok := p.Current().Member("8613800000003"); !ok {
		t.Error("the last snapshot is no longer in force")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	var listening int
	if err := pool.QueryRow(t.Context(), "select count(*) from pg_listening_channels()").Scan(&listening); err != nil || listening != 0 {
		t.Errorf("a pooled connection still listens: %d, %v", listening, err)
	}
}

// TestProviderPoll: a change whose notification was lost is found by the poll,
// and a lost connection is made again.
func TestProviderPoll(t *testing.T) {
	pool := testPool(t)
	p, err := Open(t.Context(), pool, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Changed()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	for _, sql := range []string{
		"insert into vpn_group (id, country_code) values ('7001', '86')",
		"update vpn_directory set version = version + 1",
		"select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	await(t, p, func(d *vpnlogic.Directory) bool { groups, _ := d.Size(); return groups == 1 })
	cancel()
	<-done
}

// TestProviderReadsWhatChanged: a change of a group is read by itself, over everything a
// change can be, and gives what reading everything gives.
func TestProviderReadsWhatChanged(t *testing.T) {
	pool := testPool(t)
	a, ctx := NewAdmin(pool), t.Context()
	fill(t, a)
	other := vpnlogic.Group{ID: "it's", Customer: "acme", SiteCode: "82", CountryCode: "86"}
	if err := a.CreateGroup(ctx, other); err != nil {
		t.Fatal(err)
	}
	p, err := Open(ctx, pool, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Changed()
	running, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- p.Run(running) }()
	// A change that is seen tells that it listens.
	if err := a.CreateMember(ctx, vpnlogic.Member{Number: "8613700000009", Group: other.ID, Short: "0049"}); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(d *vpnlogic.Directory) bool { _, known := d.Member("8613700000009"); return known })
	// What is read anew is told from what is not by a member whom nobody announced.
	if _, err := pool.Exec(ctx, "insert into member (number, group_id) values ('8613800000099', '7001')"); err != nil {
		t.Fatal(err)
	}
	moved := vpnlogic.Member{Number: "8613700000001", Group: "it's", Short: "0042"}
	is := func(want vpnlogic.Member) func(*vpnlogic.Directory) bool {
		return func(d *vpnlogic.Directory) bool {
			m, ok := d.Member(want.Number)
			return ok && m.Group == want.Group && m.Short == want.Short && m.Display == want.Display
		}
	}
	for _, step := range []struct {
		do    func() error
		holds func(*vpnlogic.Directory) bool
	}{
		{func() error { return a.CreateMember(ctx, moved) }, is(moved)},
		{func() error { moved.Display = "Bo"; return a.UpdateMember(ctx, moved) }, func(d *vpnlogic.Directory) bool { return is(moved)(d) }},
		{func() error { other.SiteCode = "83"; return a.UpdateGroup(ctx, other) }, func(d *vpnlogic.Directory) bool {
			r, _ := d.Screen(vpnlogic.Attempt{Calling: "8613800000001", Dialled: "830042"}, time.Now())
			return r.Called == moved.Number
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		await(t, p, step.holds)
	}
	if _, known := p.Current().Member("8613800000099"); known {
		t.Error("everything was read for a change of one group")
	}
	if err := a.RemoveMember(ctx, moved.Number); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(d *vpnlogic.Directory) bool { _, known := d.Member(moved.Number); return !known })
	// He comes back in another group: both are read.
	if err := a.CreateMember(ctx, moved); err != nil {
		t.Fatal(err)
	}
	moved.Group = "7001"
	if err := a.UpdateMember(ctx, moved); err != nil {
		t.Fatal(err)
	}
	await(t, p, func(d *vpnlogic.Directory) bool { return is(moved)(d) })
	if _, known := p.Current().Member("8613800000099"); !known {
		t.Error("the group that a member came to was not read anew")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, p *Provider, holds func(*vpnlogic.Directory) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !holds(p.Current()) {
		select {
		case <-p.Changed():
		case <-late:
			t.Fatal("the change never came into force")
		}
	}
}

func TestImport(t *testing.T) {
	a, ctx := NewAdmin(testPool(t)), t.Context()
	report, err := a.ImportGroups(ctx, strings.NewReader(`id,country_code,short_digits,forced_on_net,exclusions,escape_code,payer
7001,86,4,yes,8613700 8613800,9,Group
7002,999,,,,,
7003,86,four,,,,
7001,86,,,,,
7004,49,,maybe,,,
7005,49,,,,,boss
7006,49,,,,,
`), ImportOptions{})
	if err != nil || report.Imported != 2 || report.Lines != 7 {
		t.Fatalf("report %+v, %v", report, err)
	}
	wantFaults(t, report, map[int]string{3: `country code "999"`, 4: `short_digits "four"`, 5: "is taken", 6: `forced_on_net "maybe"`, 7: `payer "boss"`})
	groups, err := a.Groups(ctx)
	if err != nil || len(groups) != 2 || groups[0].Payer != vpnlogic.PayerGroup || groups[1].Payer != vpnlogic.PayerMember {
		t.Errorf("payers of %+v, %v", groups, err)
	}

	file := `number,group,short_number,prepaid,display
+8613800000001,7001,6001,true,"An, the ""boss"""
8613800000002,7001,6001,,
8613800000001,7001,6003,,
8613800000004,7009,6004,,
12,7001,6005,,
8613800000006,7001,6006
8613800000007,7001,9112,,
8613800000008,7001,6008,1,"Bo
of two lines"
8613800000009,7001,,0,
8613800000010,7001,6010,x,
`
	report, err = a.ImportMembers(ctx, strings.NewReader(file), ImportOptions{AllOrNothing: true})
	if !errors.Is(err, ErrFaults) || report.Imported != 0 {
		t.Errorf("all or nothing: %+v, %v", report, err)
	}
	if members, _ := a.Members(ctx, ""); len(members) != 0 {
		t.Errorf("%d members stored", len(members))
	}
	want := map[int]string{3: "is taken", 4: "is taken", 5: `group "7009"`, 6: "number: want", 7: "wrong number of fields",
		8: "emergency", 9: "no control characters", 12: `prepaid "x"`}
	wantFaults(t, report, want)
	report, err = a.ImportMembers(ctx, strings.NewReader(file), ImportOptions{})
	if err != nil || report.Imported != 2 || report.Lines != 10 {
		t.Errorf("report %+v, %v", report, err)
	}
	wantFaults(t, report, want)
	members, _ := a.Members(ctx, "7001")
	if len(members) != 2 || members[0].Display != `An, the "boss"` || !members[0].Prepaid || members[1].Short != "" {
		t.Errorf("members %+v", members)
	}
}

func wantFaults(t *testing.T, report ImportReport, want map[int]string) {
	t.Helper()
	if int(report.Faulty) != len(want) || len(report.Faults) != len(want) {
		t.Errorf("%d faults, want %d: %+v", report.Faulty, len(want), report.Faults)
	}
	for _, f := range report.Faults {
		if says, known := want[f.Line]; !known || !strings.Contains(f.Reason, says) {
			t.Errorf("line %d: %q, want %q", f.Line, f.Reason, says)
		}
	}
}

func TestImportHeader(t *testing.T) {
	a := NewAdmin(testPool(t))
	for header, says := range map[string]string{
		"":                    "line 1",
		"number":              `column "group" is missing`,
		"number,group,number": `"number" stands twice`,
		"number,group,colour": `column "colour" is not known; known are number, group, short_number`,
	} {
		if _, err := a.ImportMembers(t.Context(), strings.NewReader(header+"\n"), ImportOptions{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", header, err)
		}
	}
}

// TestImportMany: chunks, progress and a broken file.
func TestImportMany(t *testing.T) {
	a, ctx := NewAdmin(testPool(t)), t.Context()
	if err := a.CreateGroup(ctx, vpnlogic.Group{ID: "7001", CountryCode: "86"}); err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	file.WriteString("number,group,short_number\n")
	const rows = 2*importChunk + 10
	for i := range rows {
		fmt.Fprintf(&file, "86138%08d,7001,%d\n", i, 100_000+i)
	}
	var progress []int64
	report, err := a.ImportMembers(ctx, strings.NewReader(file.String()), ImportOptions{Progress: func(n int64) { progress = append(progress, n) }})
	if err != nil || report.Imported != rows || !reflect.DeepEqual(progress, []int64{importChunk, 2 * importChunk, rows}) {
		t.Errorf("imported %d, progress %v, %v", report.Imported, progress, err)
	}
	again, err := a.ImportMembers(ctx, strings.NewReader(file.String()), ImportOptions{})
	if err != nil || again.Imported != 0 || again.Faulty != rows || len(again.Faults) != FaultsMax {
		t.Errorf("again: imported %d, faulty %d, listed %d, %v", again.Imported, again.Faulty, len(again.Faults), err)
	}
	broken := errors.New("disk gone")
	if _, err := a.ImportMembers(ctx, &brokenFile{text: file.String()[:1000], err: broken}, ImportOptions{}); !errors.Is(err, broken) {
		t.Errorf("broken file: %v", err)
	}
}

type brokenFile struct {
	text string
	err  error
}

func (f *brokenFile) Read(b []byte) (int, error) {
	if f.text == "" {
		return 0, f.err
	}
	n := copy(b, f.text)
	f.text = f.text[n:]
	return n, nil
}

func TestRecorder(t *testing.T) {
	r, ctx := NewRecorder(testPool(t)), t.Context()
	at := time.Date(2026, 11, 23, 8, 0, 0, 123456000, time.UTC)
	full := vpnlogic.CallRecord{
		ID: "a", CallID: "call-1", ICID: "icid-1", Session: "vpn;1;1", Group: "7001", Member: "8613800000001",
		Calling: "8613800000001", Dialled: "6002", Called: "8613800000002", Class: vpnlogic.OnNet, Charging: vpnlogic.ChargingPrepaid,
		SetupAt: at, AnsweredAt: at.Add(12 * time.Second), ReleasedAt: at.Add(104 * time.Second),
		Talked: 92 * time.Second, Reported: 92 * time.Second, Cost: "0.92", Currency: 156,
		Cause: 16, Status: 200, Reason: "normal", ReleasedBy: "caller", TraceID: "0af7651916cd43dd8448eb211c80319c",
		Connected: "862155551234", Payer: vpnlogic.PayerGroup,
	}
	bare := vpnlogic.CallRecord{ID: "b", CallID: "call-2", Calling: "+49", Charging: vpnlogic.ChargingNone,
		SetupAt: at.Add(time.Hour), ReleasedAt: at.Add(time.Hour), Reason: "vpn.not_a_member", Status: 403, Cause: 87}
	for _, c := range []vpnlogic.CallRecord{full, bare, full} { // the third is a repetition
		if err := r.Record(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		filter Filter
		want   []string
	}{
		"all, newest first": {Filter{}, []string{"b", "a"}},
		"limit":             {Filter{Limit: 1}, []string{"b"}},
		"since":             {Filter{Since: at.Add(time.Minute)}, []string{"b"}},
		"until":             {Filter{Until: at.Add(time.Hour)}, []string{"a"}},
		"group":             {Filter{Group: "7001"}, []string{"a"}},
		"called number":     {Filter{Number: "8613800000002"}, []string{"a"}},
		"call":              {Filter{CallID: "call-2"}, []string{"b"}},
		"session":           {Filter{Session: "vpn;1;1"}, []string{"a"}},
		"nothing":           {Filter{Session: "x"}, nil},
	}
	for name, tt := range tests {
		records, err := r.Records(ctx, tt.filter)
		var got []string
		for _, c := range records {
			got = append(got, c.ID)
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, tt.want)
		}
	}
	records, _ := r.Records(ctx, Filter{Session: "vpn;1;1"})
	got := records[0]
	got.SetupAt, got.AnsweredAt, got.ReleasedAt = got.SetupAt.UTC(), got.AnsweredAt.UTC(), got.ReleasedAt.UTC()
	if !reflect.DeepEqual(got, full) {
		t.Errorf("got %+v\nwant %+v", got, full)
	}
	bare.ID, bare.Reason = "c", "a\x00b"
	if err := r.Record(ctx, bare); !errors.Is(err, vpnlogic.ErrRecordRefused) {
		t.Errorf("a text the database cannot keep: %v", err)
	}
	good := bare
	good.ID, good.Reason = "d", "normal"
	if err := r.Record(ctx, good, bare); !errors.Is(err, vpnlogic.ErrRecordRefused) {
		t.Errorf("one that cannot be kept among others: %v", err)
	}
	if records, _ := r.Records(ctx, Filter{}); len(records) != 2 {
		t.Errorf("%d records after a refused batch, want the 2 from before", len(records))
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.Record(cancelled, full); err == nil || errors.Is(err, vpnlogic.ErrRecordRefused) {
		t.Errorf("no connection: %v", err)
	}
}
