package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

const (
	// ReconciledMax bounds the lines a reconciliation lists, the latest of them; all
	// are counted.
	ReconciledMax = 1000
	// reconciledSince is how far back Verify reconciles: reports of unknown sessions
	// are kept that long by default.
	reconciledSince = 24 * time.Hour
)

// Reconciled says what an operator is to look at although the books are right.
type Reconciled string

// What a reconciliation lists.
const (
	ReconciledOrphan   Reconciled = "orphan usage"       // reported for no open session: not charged
	ReconciledMismatch Reconciled = "duplicate mismatch" // a repeat reported something else: not charged
	ReconciledExpiry   Reconciled = "expiry"             // supervision gave a freeze back: use is unknown
	ReconciledOverrun  Reconciled = "overrun"            // used and not paid: the account's debt
)

// Reconciliation is what happened since a time that was not charged as used.
type Reconciliation struct {
	Since time.Time        `json:"since"`
	Found int64            `json:"found"`
	Lines []ReconciledLine `json:"lines"` // the latest first
}

// ReconciledLine is one such case.
type ReconciledLine struct {
	At      time.Time  `json:"at"`
	Kind    Reconciled `json:"kind"`
	Account int64      `json:"account,omitempty"` // 0: not known
	Session string     `json:"session"`           // Session-Id, or its hash when only that is kept
	Target  string     `json:"target,omitempty"`
	Unit    string     `json:"unit"`   // seconds, octets, events or money
	Amount  string     `json:"amount"` // decimal of the currency's unit for money, else a count
}

// String is the line for an operator.
func (l ReconciledLine) String() string {
	text := fmt.Sprintf("%s: %s %s, session %s", l.Kind, l.Amount, l.Unit, l.Session)
	if l.Target != "" {
		text += fmt.Sprintf(", target %q", l.Target)
	}
	if l.Account != 0 {
		text += fmt.Sprintf(", account %s%d", numberPrefix, l.Account)
	}
	return text
}

// reconcileQuery finds the cases since $1, $2 of them, with the number of all. An
// orphan's account is that of its session or stored outcome, when there is one; what
// it reports may be more than can be counted.
const reconcileQuery = `
with found as (
	select case j.kind when 'expire' then 'expiry' else 'overrun' end as kind, j.at, j.account,
	       coalesce(j.session_id, s.session_id, j.session::text, '') as session, j.target,
	       coalesce(b.unit, 4) as unit, case j.kind when 'expire' then j.refunded else j.overrun end as amount
	from journal j
	left join session s on s.bucket = j.bucket and s.key = j.session and s.sub = j.sub
	left join balance b on b.bucket = j.bucket and b.account = j.account and b.id = j.balance
	where j.at >= $1 and (j.kind = 'overrun' or (j.kind = 'expire' and j.refunded > 0))
	union all
	select case when o.mismatch then 'duplicate mismatch' else 'orphan usage' end, o.at, coalesce(s.account, e.account, 0),
	       coalesce(nullif(o.session_id, ''), s.session_id, o.session::text), '', coalesce(u.unit, 0), coalesce(u.amount, 0)
	from orphan_usage o
	left join lateral (select account, session_id from session where key = o.session limit 1) s on true
	left join outcome e on e.session = o.session and e.sub = o.sub and e.type = o.type and e.number = o.number
	left join lateral (select (x->'Units'->>'kind')::smallint as unit, least(sum((x->'Units'->>'quantity')::bigint), 9223372036854775807)::bigint as amount
	                   from jsonb_array_elements(case jsonb_typeof(o.used) when 'array' then o.used else '[]' end) x group by 1) u on true
	where o.at >= $1)
select at, kind, account, session, target, unit, amount, count(*) over () from found order by at desc, session limit $2`

// Reconcile lists what happened since a time that an operator is to look at.
func (a *Admin) Reconcile(ctx context.Context, since time.Time) (Reconciliation, error) {
	r, err := reconcile(ctx, a.pool, since)
	if err != nil {
		return r, fmt.Errorf("reconcile: %w", err)
	}
	return r, nil
}

func reconcile(ctx context.Context, q queryer, since time.Time) (Reconciliation, error) {
	r := Reconciliation{Since: since}
	rows, err := q.Query(ctx, reconcileQuery, since, ReconciledMax)
	if err != nil {
		return r, err
	}
	r.Lines, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l ReconciledLine, err error) {
		var unit ocs.UnitKind
		var amount int64
		err = row.Scan(&l.At, &l.Kind, &l.Account, &l.Session, &l.Target, &unit, &amount, &r.Found)
		l.At, l.Unit = l.At.UTC(), unit.String()
		l.Amount = BalanceInfo{Unit: l.Unit}.decimal(amount)
		return l, err
	})
	return r, err
}
