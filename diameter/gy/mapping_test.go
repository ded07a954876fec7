package gy

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"strconv"
	"testing"

	"gygate/diameter"
	"gygate/ocs"
	"gygate/vpnlogic"
)

// refusals reads the constants of type Refusal out of the source, so that a new
// one without a row cannot be forgotten.
func refusals(t *testing.T) map[string]ocs.Refusal {
	t.Helper()
	file, err := goparser.ParseFile(token.NewFileSet(), "../../ocs/refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]ocs.Refusal{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Refusal" || len(spec.Values) != 1 {
			t.Errorf("ocs/refusal.go: constant %s is not of the form Name Refusal = \"token\"", spec.Names[0])
			return false
		}
		token, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Error(err)
		}
		found[spec.Names[0].Name] = ocs.Refusal(token)
		return false
	})
	return found
}

// B-158: the table is total, and holds nothing that does not exist.
func TestEveryRefusalHasARowB158(t *testing.T) {
	all := refusals(t)
	if len(all) < 20 {
		t.Fatalf("only %d refusals found in ocs/refusal.go", len(all))
	}
	exists := map[ocs.Refusal]bool{}
	for name, refusal := range all {
		exists[refusal] = true
		row, ok := answers[refusal]
		if !ok {
			t.Errorf("ocs.%s (%s) has no row in table 2", name, refusal)
		}
		if row.code < 3000 || row.code > 5999 {
			t.Errorf("ocs.%s is answered %d, which refuses nothing", name, row.code)
		}
	}
	for refusal := range answers {
		if !exists[refusal] {
			t.Errorf("table 2 has a row for %q, which is no refusal", refusal)
		}
	}
}

// B-158: what each refusal is on the wire: a code, the E bit where another server
// may do better, and the token that says why.
func TestRefusalsOnTheWireB158(t *testing.T) {
	proves(t, "B-158")
	all := refusals(t)
	for code, refusals := range map[diameter.ResultCode][]ocs.Refusal{
		3002: {ocs.Unavailable, ocs.Busy}, // Busy is 3004 to who names us
		4010: {ocs.Lost, ocs.Blocked, ocs.Closed, ocs.NotYetValid, ocs.Expired, ocs.RefundNotLinked, ocs.RefundTooLarge},
		4011: {ocs.Free},
		4012: {ocs.BelowThreshold, ocs.NoBalance, ocs.NotAvailable, ocs.CreditLimit},
		5002: {ocs.UnknownSession},
		5004: {ocs.UnsupportedId, ocs.PayerChanged, ocs.UnitMismatch},
		5007: {ocs.IdentityConflict},
		5012: {ocs.Internal, ocs.SessionExists, ocs.OutcomeGone},
		5030: {ocs.UnknownSubscriber},
		5031: {ocs.NoIdentity, ocs.Unrated, ocs.UnknownContext, ocs.ForeignCurrency},
	} {
		for _, refusal := range refusals {
			m := message(t, call("158", ocs.Initial, 0, ask()))
			got := parse(t, serveAgain(t, m, ocs.Outcome{Refusal: refusal}))
			a, _ := ParseCCA(got)
			if a.ResultCode != code || a.ErrorMessage != string(refusal) || (got.Flags&diameter.FlagError != 0) != (code == 3002) || len(a.Services) != 0 {
				t.Errorf("%s is answered %d with flags %02x: %s", refusal, a.ResultCode, got.Flags, a.ErrorMessage)
			}
			for name, r := range all {
				if r == refusal {
					delete(all, name)
				}
			}
		}
	}
	for name := range all {
		t.Errorf("ocs.%s is not in this table", name)
	}
}

// The release table of vpnlogic names every refusal that can end a call, with
// the numbers of what its Result-Code means there.
func TestEveryRefusalHasACause(t *testing.T) {
	reasons := map[vpnlogic.ChargeResult]string{
		vpnlogic.ChargeRefused:  vpnlogic.ReasonRefused,
		vpnlogic.ChargeNoCredit: vpnlogic.ReasonNoCredit,
		vpnlogic.ChargeFailed:   vpnlogic.ReasonFailed,
	}
	unnamed := vpnlogic.Cause{Reason: "never.heard", Q850: vpnlogic.CauseOf(vpnlogic.ReasonFailed).Q850}.Text()
	for name, refusal := range refusals(t) {
		reason, ends := reasons[meaning(answerTo(refusal).code)]
		if !ends || refusal == ocs.RefundNotLinked || refusal == ocs.RefundTooLarge {
			continue // free or unreachable, which have causes of their own; not of a call
		}
		if answerTo(refusal).code == diameter.UserUnknown {
			reason = vpnlogic.ReasonNoPayer
		}
		got, want := vpnlogic.CauseOf(string(refusal)), vpnlogic.CauseOf(reason)
		if got.Q850 != want.Q850 || got.Status != want.Status || got.Text() == unnamed {
			t.Errorf("ocs.%s releases a call with %v %q, want the numbers of %v", name, got, got.Text(), want)
		}
	}
}

// The codes that the standard or a decision fixes.
func TestRefusalCodes(t *testing.T) {
	for refusal, want := range map[ocs.Refusal]diameter.ResultCode{
		ocs.UnknownSubscriber: 5030, // B-058
		ocs.NoIdentity:        5031, // B-059
		ocs.IdentityConflict:  5007, // B-055
		ocs.PayerChanged:      5004, // B-061
		ocs.Blocked:           4010, // B-150
		ocs.Lost:              4010, ocs.Closed: 4010, ocs.Expired: 4010,
		ocs.NotAvailable: 4012, ocs.BelowThreshold: 4012, ocs.NoBalance: 4012, // B-153
		ocs.Free:           4011, // B-151
		ocs.Unrated:        5031, // B-154
		ocs.UnknownSession: 5002, // B-032
		ocs.SessionExists:  5012, // B-033
		ocs.Unavailable:    3002, // B-155
		ocs.Internal:       5012, // B-157
		"no.such.refusal":  5012,
	} {
		if got := answerTo(refusal).code; got != want {
			t.Errorf("%s is answered %d, want %d", refusal, got, want)
		}
	}
}

func TestVerbsOfEveryInterrogation(t *testing.T) {
	for _, c := range []struct {
		kind      ocs.StepType
		action    ocs.EventAction
		requested bool
		want      ocs.Verbs
	}{
		{ocs.Initial, 0, true, ocs.VerbOpen | ocs.VerbAuthenticate | ocs.VerbReserve},
		{ocs.Initial, 0, false, ocs.VerbOpen | ocs.VerbAuthenticate},
		{ocs.Update, 0, true, ocs.VerbAuthenticate | ocs.VerbDebit | ocs.VerbRefund | ocs.VerbReserve},
		{ocs.Update, 0, false, ocs.VerbAuthenticate | ocs.VerbDebit | ocs.VerbRefund},
		{ocs.Terminate, 0, true, ocs.VerbDebit | ocs.VerbRefund | ocs.VerbClose},
		{ocs.Terminate, 0, false, ocs.VerbDebit | ocs.VerbRefund | ocs.VerbClose},
		{ocs.Event, ocs.DirectDebit, true, ocs.VerbAuthenticate | ocs.VerbDebit},
		{ocs.Event, ocs.RefundAccount, true, 0},
		{ocs.Event, ocs.CheckBalance, true, 0},
		{ocs.Event, ocs.PriceEnquiry, true, 0},
	} {
		if got, ok := verbsOf(c.kind, c.action, c.requested); !ok || got != c.want {
			t.Errorf("type %d action %d requested %v: verbs %b, %v; want %b", c.kind, c.action, c.requested, got, ok, c.want)
		}
		if rule := ocs.VerbsOf(c.kind, c.action); c.requested && rule != c.want {
			t.Errorf("type %d action %d: the charging system's own rule is %b, want %b", c.kind, c.action, rule, c.want)
		}
	}
	for kind := ocs.Initial; kind <= ocs.Event; kind++ {
		for action := ocs.DirectDebit; action <= ocs.PriceEnquiry; action++ {
			if _, ok := verbsOf(kind, action, true); !ok {
				t.Errorf("type %d action %d has no row in table 1", kind, action)
			}
		}
	}
	if _, ok := verbsOf(ocs.Event, 4, true); ok {
		t.Error("Requested-Action 4 has a row")
	}
}

// What a code means to the call (C-002 to C-008, A-057).
func TestMeanings(t *testing.T) {
	for code, want := range map[diameter.ResultCode]vpnlogic.ChargeResult{
		2001: vpnlogic.ChargeGranted, 2002: vpnlogic.ChargeGranted,
		3002: vpnlogic.ChargeUnreachable, 3004: vpnlogic.ChargeUnreachable, 3005: vpnlogic.ChargeUnreachable,
		3001: vpnlogic.ChargeFailed, 3007: vpnlogic.ChargeFailed, 3010: vpnlogic.ChargeFailed,
		4010: vpnlogic.ChargeRefused, 5030: vpnlogic.ChargeRefused,
		4011: vpnlogic.ChargeFree, 4012: vpnlogic.ChargeNoCredit,
		4001: vpnlogic.ChargeFailed, 5002: vpnlogic.ChargeFailed, 5012: vpnlogic.ChargeFailed, 5031: vpnlogic.ChargeFailed,
		2999: vpnlogic.ChargeFailed, 1001: vpnlogic.ChargeFailed, 0: vpnlogic.ChargeFailed,
		7001: vpnlogic.ChargeFailed, 4294967295: vpnlogic.ChargeFailed,
	} {
		if got := meaning(code); got != want {
			t.Errorf("Result-Code %d means %d, want %d", code, got, want)
		}
	}
}
