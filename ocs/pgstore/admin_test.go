package pgstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"gygate/ocs"
	"gygate/ocs/ocstest"
)

const money = ocs.MoneyScale

func createAccount(t testing.TB, l *ledger, n NewAccount) AccountInfo {
	t.Helper()
	if n.Currency == 0 {
		n.Currency = 978
	}
	info, err := l.admin.CreateAccount(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func number(value string) []ocs.Identity { return []ocs.Identity{{Kind: ocs.E164, Value: value}} }

func TestCreateAndShowAccount(t *testing.T) {
	l := newLedger(t)
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	created := createAccount(t, l, NewAccount{
		Identities: []ocs.Identity{{Kind: ocs.E164, Value: "493012345001"}, {Kind: ocs.IMSI, Value: "262011234567890"}, {Kind: ocs.SIPURI, Value: "sip:ada@example.org"}},
		Balance:    10 * money, Threshold: money / 2, ValidUntil: until, Class: "gold", Zone: "Europe/Berlin",
	})
	for _, identity := range []string{"493012345001", "+493012345001", "imsi:262011234567890", "sip:ada@example.org"} {
		info, err := l.admin.Show(t.Context(), identity)
		if err != nil || !reflect.DeepEqual(info, created) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", identity, err, info, created)
		}
	}
	encoded, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"identities":["493012345001","imsi:262011234567890","sip:ada@example.org"]`, `"available":"10.00"`, `"frozen":"0.00"`, `"spent":"0.00"`,
		`"debt":"0.00"`, `"threshold":"0.50"`, `"valid_until":"2030-01-01T00:00:00Z"`, `"closed":false`, `"unit":"money"`, `"open_sessions":[]`,
	} {
		if !strings.Contains(string(encoded), want) {
			t.Errorf("JSON has no %s:\n%s", want, encoded)
		}
	}
	if _, err := l.admin.Show(t.Context(), "493012345999"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("unknown number: %v", err)
	}
	if _, err := l.admin.Show(t.Context(), "id:4711"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("unknown internal number: %v", err)
	}
	if _, err := l.admin.Show(t.Context(), "id:x"); !errors.Is(err, ErrInput) {
		t.Errorf("no internal number: %v", err)
	}
	if _, err := l.admin.Show(t.Context(), "ada"); !errors.Is(err, ErrInput) {
		t.Errorf("no identity: %v", err)
	}
	_, err = l.admin.CreateAccount(t.Context(), NewAccount{Identities: []ocs.Identity{{Kind: ocs.E164, Value: "493012345002"}, {Kind: ocs.IMSI, Value: "262011234567890"}}, Currency: 978})
	if !errors.Is(err, ErrIdentityTaken) || !strings.HasSuffix(err.Error(), ": imsi:262011234567890") {
		t.Errorf("identity of another account: %v", err)
	}
	l.audit(t)
}

func TestCreateAccountRefusesNonsense(t *testing.T) {
	l := newLedger(t)
	for name, n := range map[string]NewAccount{
		"no identity":        {Currency: 978},
		"named twice":        {Identities: append(number("1"), number("1")...), Currency: 978},
		"no currency":        {Identities: number("1")},
		"negative balance":   {Identities: number("1"), Currency: 978, Balance: -1},
		"negative threshold": {Identities: number("1"), Currency: 978, Threshold: -1},
		"no such zone":       {Identities: number("1"), Currency: 978, Zone: "Mars/Olympus"},
		"ends at its start":  {Identities: number("1"), Currency: 978, ValidFrom: time.Unix(5, 0), ValidUntil: time.Unix(5, 0)},
		"balance of no unit": {Identities: number("1"), Currency: 978, Balances: []ocs.Balance{{Amount: 5}}},
	} {
		if _, err := l.admin.CreateAccount(t.Context(), n); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := l.count(t, "account"); n != 0 {
		t.Errorf("%d accounts created", n)
	}
}

func TestTopUpOnceForEachKey(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: number("1"), Balance: money})
	createAccount(t, l, NewAccount{Identities: number("2")})
	topUp := TopUp{Identity: "1", Amount: 5 * money, Source: "voucher", Key: "v-1", By: "test"}
	for range 2 {
		if info, err := l.admin.TopUp(t.Context(), topUp); err != nil || info.Available != 6*money {
			t.Fatalf("available %v, %v; want 6.00", info.Available, err)
		}
	}
	for name, change := range map[string]func(*TopUp){
		"another amount":  func(u *TopUp) { u.Amount++ },
		"another source":  func(u *TopUp) { u.Source = "top-up" },
		"another account": func(u *TopUp) { u.Identity = "2" },
		"another balance": func(u *TopUp) { u.Balance = 77 },
	} {
		u := topUp
		change(&u)
		if _, err := l.admin.TopUp(t.Context(), u); !errors.Is(err, ErrKeyReused) {
			t.Errorf("same key, %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*TopUp){
		"nothing":  func(u *TopUp) { u.Amount = 0 },
		"negative": func(u *TopUp) { u.Amount = -5 },
		"no key":   func(u *TopUp) { u.Key = "" },
	} {
		u := topUp
		change(&u)
		if _, err := l.admin.TopUp(t.Context(), u); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rows, err := l.admin.Journal(t.Context(), "1", 0)
	if err != nil || len(rows) != 2 || rows[1].Credited != int64(5*money) || rows[1].CreditKey != "v-1" || rows[1].AmountAfter != int64(6*money) {
		t.Errorf("journal %+v, %v; want the opening and one credit", rows, err)
	}
	l.audit(t)
}

func TestConcurrentTopUps(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: number("1")})
	createAccount(t, l, NewAccount{Identities: number("2")})
	var all sync.WaitGroup
	errs := make([]error, 24)
	for i := range errs { // keys 0 to 5, each twice on both accounts
		all.Go(func() {
			_, errs[i] = l.admin.TopUp(t.Context(), TopUp{Identity: fmt.Sprint(i%2 + 1), Amount: money, Source: "voucher", Key: fmt.Sprint(i / 2 % 6)})
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrKeyReused) {
			t.Error(err)
		}
	}
	one, err1 := l.admin.Show(t.Context(), "1")
	two, err2 := l.admin.Show(t.Context(), "2")
	if err := errors.Join(err1, err2); err != nil || one.Available+two.Available != 6*money {
		t.Errorf("credited %v and %v (%v), want 6.00 together: each voucher once", one.Available, two.Available, err)
	}
	l.audit(t)
}

func TestTopUpAndDebt(t *testing.T) {
	l := newLedger(t)
	payer := ocstest.NewPayer()
	a := l.AddAccount(t, ocstest.Prepaid(100_000), payer)
	policy := ocs.DefaultPolicy()
	policy.ClockTolerance = time.Hour
	node := ocstest.Start(t, l.Store, ocs.EngineConfig{Policy: policy, Sweep: -1})
	id := ocstest.NewSession()
	step := ocs.Step{SessionID: id, Type: ocs.Initial, Payer: []ocs.Identity{payer}, Service: ocstest.Voice, Items: []ocs.Item{ocstest.For(ocstest.OnNet, nil, ocstest.Wish(0, 0))}}
	node.Do(step)
	step.Type, step.Number, step.Items = ocs.Terminate, 1, []ocs.Item{ocstest.For(ocstest.OnNet, ocstest.Used(ocs.Seconds, 30), nil)}
	if o := node.Do(step); o.Items[0].Overrun != 200_000 {
		t.Fatalf("overrun %v, want 0.20", o.Items[0].Overrun)
	}

	info, err := l.admin.TopUp(t.Context(), TopUp{Identity: payer.Value, Amount: 50_000, Source: "top-up", Key: "left"})
	if err != nil || info.Debt != 200_000 || info.Available != 50_000 {
		t.Errorf("debt left: debt %v, available %v, %v; want 0.20 and 0.05", info.Debt, info.Available, err)
	}
	info, err = l.admin.TopUp(t.Context(), TopUp{Identity: payer.Value, Amount: 150_000, Source: "top-up", Key: "part", Debt: PayDebt})
	if err != nil || info.Debt != 50_000 || info.Available != 50_000 {
		t.Errorf("part of the debt: debt %v, available %v, %v; want 0.05 and 0.05", info.Debt, info.Available, err)
	}
	info, err = l.admin.TopUp(t.Context(), TopUp{Identity: payer.Value, Amount: 150_000, Source: "top-up", Key: "rest", Debt: PayDebt})
	if err != nil || info.Debt != 0 || info.Available != 150_000 || info.Spent != 100_000 {
		t.Errorf("rest of the debt: debt %v, available %v, spent %v, %v; want 0, 0.15, 0.10", info.Debt, info.Available, info.Spent, err)
	}
	rows, err := l.admin.SessionJournal(t.Context(), id)
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows of the session (%v), want reserve, debit and overrun", len(rows), err)
	}
	for _, row := range rows {
		if row.SessionID != id || row.Account != a.Key {
			t.Errorf("row %+v", row)
		}
	}
	l.exec(t, "delete from session") // retention is over: the journal still knows
	if rows, err = l.admin.SessionJournal(t.Context(), id); err != nil || len(rows) != 3 || rows[0].SessionID != id {
		t.Errorf("after the session is gone: %d rows (%v)", len(rows), err)
	}
}

func TestSet(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: number("1"), Balance: money})
	yes, no, threshold := true, false, 2*money
	until := time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC)
	set := func(s Settings) AccountInfo {
		t.Helper()
		info, err := l.admin.Set(t.Context(), "1", s)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := set(Settings{Lost: &yes, By: "ada", Reason: "stolen", Threshold: &threshold, ValidUntil: &until})
	if info.Lost == nil || info.Lost.By != "ada" || info.Lost.Reason != "stolen" || info.Blocked != nil || info.Threshold != threshold || !info.ValidUntil.Equal(until) {
		t.Errorf("%+v", info)
	}
	since := info.Lost.Since
	info = set(Settings{Lost: &yes, Blocked: &yes, By: "ben"})
	if !info.Lost.Since.Equal(since) || info.Lost.By != "ada" || info.Blocked.By != "ben" {
		t.Errorf("lost %+v, blocked %+v; want the first report kept", info.Lost, info.Blocked)
	}
	info = set(Settings{Lost: &no, ValidUntil: &time.Time{}})
	if info.Lost != nil || info.Blocked == nil || info.ValidUntil != nil {
		t.Errorf("%+v", info)
	}
	if info = set(Settings{Closed: &yes}); !info.Closed {
		t.Error("not closed")
	}
	if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: "1", Amount: 1, Source: "top-up", Key: "k"}); !errors.Is(err, ErrClosed) {
		t.Errorf("top-up of a closed account: %v", err)
	}
	from := until.Add(time.Hour)
	if _, err := l.admin.Set(t.Context(), "1", Settings{ValidFrom: &from, ValidUntil: &until}); !errors.Is(err, ErrInput) {
		t.Errorf("validity that ends before it begins: %v", err)
	}
	if _, err := l.admin.Set(t.Context(), "2", Settings{}); !errors.Is(err, ErrNoAccount) {
		t.Errorf("unknown account: %v", err)
	}
}

// Every administrator's writer waits for the account's lock.
func TestWritersTakeTheAccountLock(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: number("1"), Balance: money})
	a := ocs.Account{Key: l.key(t, "1")}
	w := want(a, "s", ocs.Initial, 0)
	transact(t, l.Store, w, func(set *ocs.WorkingSet) { openSession(set, w, "s", 40) })
	yes := true
	for name, write := range map[string]func() error{
		"TopUp": func() error {
			_, err := l.admin.TopUp(t.Context(), TopUp{Identity: "1", Amount: 1, Source: "top-up", Key: "k"})
			return err
		},
		"Set":          func() error { _, err := l.admin.Set(t.Context(), "1", Settings{Lost: &yes}); return err },
		"CloseSession": func() error { return l.admin.CloseSession(t.Context(), "s") },
	} {
		done := make(chan error, 1)
		l.lanes[0].trust.locked = 1
		transact(t, l.Store, w, func(*ocs.WorkingSet) {
			go func() { done <- write() }()
			l.awaitLockWait(t)
			select {
			case <-done:
				t.Errorf("%s did not wait", name)
			default:
			}
		})
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.audit(t)
}

func (l *ledger) key(t testing.TB, identity string) ocs.AccountKey {
	t.Helper()
	key, err := l.admin.find(t.Context(), identity)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSessionsAreListed(t *testing.T) {
	l := newLedger(t)
	createAccount(t, l, NewAccount{Identities: number("1"), Balance: money})
	createAccount(t, l, NewAccount{Identities: number("2"), Balance: money})
	for i, identity := range []string{"1", "1", "2"} {
		id := fmt.Sprintf("s%d", i)
		w := want(ocs.Account{Key: l.key(t, identity)}, id, ocs.Initial, 0)
		transact(t, l.Store, w, func(set *ocs.WorkingSet) {
			s := openSession(set, w, id, 40)
			if i == 0 {
				s.ClosedAt, s.Targets[0].Freezes, set.Accounts[w.Account].Balances[0].Frozen = set.Now, nil, 0
			}
		})
	}
	for _, c := range []struct {
		filter SessionFilter
		want   string
	}{
		{SessionFilter{}, "s1 s2"}, {SessionFilter{Closed: true}, "s0 s1 s2"}, {SessionFilter{Identity: "1"}, "s1"},
		{SessionFilter{Identity: "1", Closed: true}, "s0 s1"}, {SessionFilter{Closed: true, Limit: 1}, "s0"},
	} {
		sessions, err := l.admin.Sessions(t.Context(), c.filter)
		var ids []string
		for _, s := range sessions {
			ids = append(ids, s.SessionID)
		}
		if got := strings.Join(ids, " "); err != nil || got != c.want {
			t.Errorf("%+v: %q (%v), want %q", c.filter, got, err, c.want)
		}
	}
	if _, err := l.admin.TopUp(t.Context(), TopUp{Identity: "2", Amount: 1, Source: "top-up", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if sessions, err := l.admin.Sessions(t.Context(), SessionFilter{Identity: "2"}); err != nil || len(sessions) != 1 || sessions[0].Notice != "credit waiting" || sessions[0].Orphaned {
		t.Errorf("%+v, %v", sessions, err)
	}
	info, err := l.admin.Show(t.Context(), "1")
	if err != nil || len(info.OpenSessions) != 1 || info.OpenSessions[0].SessionID != "s1" || info.OpenSessions[0].Frozen != 40 ||
		info.OpenSessions[0].Targets[0].Granted != 60 || info.Frozen != 40 {
		t.Errorf("%+v, %v", info, err)
	}
}

// the value stays over a restart with the sessions intact, and rises when
// they were lost: on a restored store, and on an empty one.
func TestOriginStateIDRisesOnlyWhenSessionsWereLost(t *testing.T) {
	t.Attr("proves", "A-015")
	l := newLedger(t)
	id := func(get func() (uint32, error)) uint32 {
		t.Helper()
		n, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	state := func() (uint32, error) { return l.admin.OriginStateID(t.Context()) }
	first := id(state)
	if again := id(state); again != first {
		t.Errorf("%d, then %d without reason", first, again)
	}
	restarted := NewAdmin(newPool(t, l.dsn)) // nothing of the process is left
	if again := id(func() (uint32, error) { return restarted.OriginStateID(t.Context()) }); again != first {
		t.Errorf("%d, then %d after a restart", first, again)
	}
	l.exec(t, "update meta set system_identifier = 42, origin_state_id = origin_state_id + 100") // restored into another cluster
	restored := id(state)
	if restored != first+101 {
		t.Errorf("%d after a restore, want above %d", restored, first+100)
	}
	raised := id(func() (uint32, error) { return l.admin.RaiseOriginStateID(t.Context()) })
	if raised != restored+1 || id(state) != raised {
		t.Errorf("raised from %d to %d", restored, raised)
	}
	// A lost database: the value of the new one lies above one that was begun earlier.
	if age := time.Since(time.Unix(int64(first), 0)); age > time.Hour || age < -time.Hour {
		t.Errorf("%d is not of today: it would not rise over a lost database", first)
	}
}

// the client's value rises at each start.
func TestNextStartRises(t *testing.T) {
	t.Attr("proves", "A-015")
	l := newLedger(t)
	var last uint32
	for range 3 {
		n, err := l.admin.NextStart(t.Context(), "vpn.test")
		if err != nil || n <= last {
			t.Fatalf("%d after %d (%v)", n, last, err)
		}
		last = n
	}
	other, err := l.admin.NextStart(t.Context(), "other.test")
	if err != nil || other > last {
		t.Errorf("another identity counts %d (%v)", other, err)
	}
}
