package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// ViolationsMax bounds the violations a report lists; all are counted.
const ViolationsMax = 1000

// VerifyReport is the result of an audit of the books.
type VerifyReport struct {
	At         time.Time   `json:"at"` // the snapshot that was audited
	Accounts   int64       `json:"accounts"`
	Balances   int64       `json:"balances"`
	Sessions   int64       `json:"sessions"` // open and kept
	Freezes    int64       `json:"freezes"`
	Journal    int64       `json:"journal"` // rows not yet summed up in closings
	Found      int64       `json:"found"`   // violations
	Violations []Violation `json:"violations"`
	// Reconciliation is no violation: what the last day left uncharged or unknown.
	Reconciliation Reconciliation `json:"reconciliation"`
}

// OK reports whether the books are right.
func (r *VerifyReport) OK() bool { return r.Found == 0 }

func (r *VerifyReport) add(v Violation) {
	r.Found++
	if len(r.Violations) < ViolationsMax {
		r.Violations = append(r.Violations, v)
	}
}

// Rule names a truth of the books.
type Rule string

// The rules that Verify checks.
const (
	RuleAmount  Rule = "amount"  // of each balance: credits - debits = amount
	RuleFrozen  Rule = "frozen"  // of each balance: the freezes on it = frozen
	RuleRange   Rule = "range"   // of each balance: 0 <= frozen <= amount
	RuleOrphan  Rule = "orphan"  // each freeze has an open session
	RuleOnce    Rule = "once"    // each request moved a balance for a target once, each credit key credited once
	RuleCharged Rule = "charged" // of each target of a kept session: charged = debited + overrun
	RuleDebt    Rule = "debt"    // of each account: overruns - what was repaid = debt
	// RuleReversed: of each one-time debit, what was credited back = reversed.
	RuleReversed Rule = "reversed"
	// RuleEndless: supervision can end each open session with a freeze: its account
	// is there, holds the balance, and the deadline comes.
	RuleEndless Rule = "endless"
)

// Violation is a place where the books are wrong. Money is in millionths.
type Violation struct {
	Rule    Rule   `json:"rule"`
	Account int64  `json:"account"`
	Balance int64  `json:"balance,omitempty"`
	Session string `json:"session,omitempty"` // Session-Id, or its hash when only that is kept
	Detail  string `json:"detail"`
}

// String is the violation for an operator.
func (v Violation) String() string {
	text := fmt.Sprintf("%s: account %s%d", v.Rule, numberPrefix, v.Account)
	if v.Balance != 0 {
		text += fmt.Sprintf(", balance %d", v.Balance)
	}
	if v.Session != "" {
		text += ", session " + v.Session
	}
	return text + ": " + v.Detail
}

// Verify audits the books in one snapshot, beside running engines: what several
// rows must tell together, after every committed transaction.
func (a *Admin) Verify(ctx context.Context) (VerifyReport, error) {
	report := VerifyReport{Violations: []Violation{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, a.pool, options, func(tx pgx.Tx) error {
		if err := report.countRows(ctx, tx); err != nil {
			return err
		}
		for _, a := range audits {
			if err := report.audit(ctx, tx, a); err != nil {
				return fmt.Errorf("rule %s: %w", a.rule, err)
			}
		}
		if err := report.auditCharges(ctx, tx); err != nil {
			return err
		}
		r, err := reconcile(ctx, tx, report.At.Add(-reconciledSince))
		report.Reconciliation = r
		return err
	})
	if err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	return report, nil
}

func (r *VerifyReport) countRows(ctx context.Context, tx pgx.Tx) error {
	return tx.QueryRow(ctx, `
		select clock_timestamp(), (select count(*) from account), (select count(*) from balance), (select count(*) from session),
		       (select count(*) from session_freezes), (select count(*) from journal)`).
		Scan(&r.At, &r.Accounts, &r.Balances, &r.Sessions, &r.Freezes, &r.Journal)
}

// audit finds the violations of a rule by a query, whose rows are account,
// balance, session and detail.
type audit struct {
	rule  Rule
	query string
}

var audits = []audit{
	{RuleRange, `
select account, id, '', format('amount %s, frozen %s', amount, frozen)
from balance where frozen < 0 or amount < frozen`},

	{RuleAmount, `
with moved as (
	select bucket, account, balance, sum(credited) credited, sum(debited) debited
	from (select bucket, account, balance, credited, debited from journal
	      union all select bucket, account, balance, credited, debited from closing) x
	where balance <> 0 group by bucket, account, balance)
select coalesce(b.account, m.account), coalesce(b.id, m.balance), '',
       format('amount %s, but credits %s - debits %s = %s', coalesce(b.amount::text, 'is missing'),
              coalesce(m.credited, 0), coalesce(m.debited, 0), coalesce(m.credited - m.debited, 0))
from balance b full join moved m on m.bucket = b.bucket and m.account = b.account and m.balance = b.id
where b.amount is distinct from coalesce(m.credited - m.debited, 0)`},

	{RuleFrozen, `
with held as (
	select f.bucket, s.account, f.balance, sum(f.amount) amount
	from session_freezes f join session s on s.bucket = f.bucket and s.key = f.session and s.sub = f.sub
	group by f.bucket, s.account, f.balance)
select coalesce(b.account, h.account), coalesce(b.id, h.balance), '',
       format('frozen %s, but its freezes are %s', coalesce(b.frozen::text, 'is missing'), coalesce(h.amount, 0))
from balance b full join held h on h.bucket = b.bucket and h.account = b.account and h.balance = b.id
where b.frozen is distinct from coalesce(h.amount, 0)`},

	{RuleOrphan, `
select s.account, f.balance, s.session_id, format('%s frozen for target "%s", but the session is closed', f.amount, f.target)
from session_freezes f join session s on s.bucket = f.bucket and s.key = f.session and s.sub = f.sub
where s.closed_at is not null`},

	{RuleOnce, `
select min(account), balance, coalesce(min(session_id), session::text),
       format('request type %s, number %s moved target "%s" %s times (%s)', type, number, target, count(*), kind)
from journal where session is not null
group by bucket, session, sub, type, number, target, balance, kind having count(*) > 1`},

	{RuleOnce, `
select account, balance, '', format('credit key "%s" moved it %s times (%s)', credit_key, count(*), kind)
from journal where session is null and credit_key is not null
group by bucket, account, balance, kind, credit_key having count(*) > 1`},

	{RuleReversed, `
with back as (
	select j.bucket, j.reversal_of token, sum(j.credited) credited
	from journal j join balance b on b.bucket = j.bucket and b.account = j.account and b.id = j.balance and b.unit = 4
	where j.reversal_of is not null group by j.bucket, j.reversal_of)
select d.account, 0::bigint, '', format('reversed %s of debit %s, but %s was credited back', d.reversed, encode(d.token, 'hex'), coalesce(r.credited, 0))
from event_debit d left join back r on r.bucket = d.bucket and r.token = d.token
where d.reversed <> coalesce(r.credited, 0) and d.at >= coalesce((select max(until) from closing), '-infinity')`},

	{RuleEndless, `
select s.account, f.balance, s.session_id, format('%s frozen for target "%s", but %s', f.amount, f.target,
       case when a.id is null then 'the account is not there' when b.id is null then 'the balance is not the account''s'
            else 'the deadline is ' || s.deadline end)
from session_freezes f
join session s on s.bucket = f.bucket and s.key = f.session and s.sub = f.sub
left join account a on a.bucket = s.bucket and a.id = s.account
left join balance b on b.bucket = s.bucket and b.account = s.account and b.id = f.balance
where s.closed_at is null and (a.id is null or b.id is null or s.deadline = 'infinity')`},

	{RuleDebt, `
with owed as (
	select bucket, account, sum(overrun) overrun, sum(repaid) repaid
	from (select bucket, account, overrun, case when kind = 'debt' then debited else 0 end repaid from journal
	      union all select bucket, account, overrun, repaid from closing) x
	group by bucket, account)
select a.id, 0::bigint, '', format('debt %s, but overruns %s - repaid %s = %s', a.debt,
       coalesce(o.overrun, 0), coalesce(o.repaid, 0), coalesce(o.overrun - o.repaid, 0))
from account a left join owed o on o.bucket = a.bucket and o.account = a.id
where a.debt <> coalesce(o.overrun - o.repaid, 0)`},
}

func (r *VerifyReport) audit(ctx context.Context, tx pgx.Tx, a audit) error {
	rows, err := tx.Query(ctx, a.query)
	if err != nil {
		return err
	}
	v := Violation{Rule: a.rule}
	_, err = pgx.ForEachRow(rows, []any{&v.Account, &v.Balance, &v.Session, &v.Detail}, func() error {
		r.add(v)
		return nil
	})
	return err
}

// auditCharges compares what each target of a kept session was charged with what
// the journal says was debited in money and overrun, and looks for freezes without
// a target. A session that began before the last dropped month is left out: a part
// of its rows is summed up.
func (r *VerifyReport) auditCharges(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		with paid as (
			select j.bucket, j.session, j.sub, j.target, sum(case when j.kind = 'overrun' then j.overrun when b.unit = $1 then j.debited else 0 end)::bigint paid
			from journal j left join balance b on b.bucket = j.bucket and b.account = j.account and b.id = j.balance
			where j.session is not null and j.type <> $2 and j.kind <> 'credit'
			group by j.bucket, j.session, j.sub, j.target),
		by_session as (
			select bucket, session, sub, array_agg(target) targets, array_agg(paid) paid from paid group by bucket, session, sub)
		select s.account, s.session_id, s.targets, coalesce(p.targets, '{}'), coalesce(p.paid, '{}')
		from session s
		left join by_session p on p.bucket = s.bucket and p.session = s.key and p.sub = s.sub
		where s.opened_at >= coalesce((select max(until) from closing), '-infinity')`, int16(ocs.Amount), int16(ocs.Event))
	if err != nil {
		return err
	}
	var account int64
	var session string
	var encoded []byte
	var targets []string
	var paid []int64
	_, err = pgx.ForEachRow(rows, []any{&account, &session, &encoded, &targets, &paid}, func() error {
		v := Violation{Rule: RuleCharged, Account: account, Session: session}
		states, err := decodeTargets(encoded)
		if err != nil {
			if errors.Is(err, errInvariant) { // a session that cannot be loaded cannot be ended
				v.Rule = RuleEndless
			}
			v.Detail = err.Error()
			r.add(v)
			return nil
		}
		r.compareCharges(v, states, targets, paid)
		return nil
	})
	if err != nil {
		return fmt.Errorf("rule %s: %w", RuleCharged, err)
	}
	return nil
}

func (r *VerifyReport) compareCharges(v Violation, states []*ocs.TargetState, targets []string, paid []int64) {
	left := make(map[string]int64, len(states))
	for _, t := range states {
		left[string(t.Target)] += int64(t.Charged)
	}
	journal := make(map[string]int64, len(targets))
	for i, target := range targets {
		journal[target] = paid[i]
		left[target] += 0 // a target of the journal alone is compared, too
	}
	for target, charged := range left {
		if charged != journal[target] {
			v.Detail = fmt.Sprintf("target %q was charged %d, but debited and overrun are %d", target, charged, journal[target])
			r.add(v)
		}
	}
}
