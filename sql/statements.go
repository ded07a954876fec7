package sql

// The statements of the money path. Each works on a set: parallel arrays in, all
// rows of a batch at once. They are written for nested loops over primary keys
// (ocs/pgstore pins the plans), with the keys sorted by the caller, so that
// concurrent transactions meet in the same order.
//
// The first round trip locks, then loads. These are separate statements on
// purpose: under READ COMMITTED each sees what was committed before it began, so
// the loads see what another transaction committed while the lock was awaited.
const (
	// LockAccounts locks accounts ($1 buckets, $2 ids) in key order and reads
	// them. No step changes a key, so the lock leaves foreign-key checks alone.
	LockAccounts = ReadAccounts + `
for no key update of a`

	// ReadAccounts reads the same without the lock.
	ReadAccounts = `
select a.bucket, a.id, a.currency, a.class, a.closed_at is not null,
       a.lost_since, coalesce(a.lost_by, ''), coalesce(a.lost_reason, ''),
       a.blocked_since, coalesce(a.blocked_by, ''), coalesce(a.blocked_reason, ''),
       a.valid_from, a.valid_until, a.threshold, a.zone, a.debt
from unnest($1::smallint[], $2::bigint[]) k (bucket, id)
join account a on a.bucket = k.bucket and a.id = k.id
order by a.bucket, a.id`

	// Clock reads the time for every deadline. now() would be the time before
	// the locks were granted.
	Clock = `select clock_timestamp()`

	// LoadBalances reads the balances of accounts ($1 buckets, $2 ids).
	LoadBalances = `
select b.bucket, b.account, b.id, b.unit, b.amount, b.frozen, b.services, b.targets, b.priority, b.valid_from, b.valid_until
from unnest($1::smallint[], $2::bigint[]) k (bucket, account)
join balance b on b.bucket = k.bucket and b.account = k.account
order by b.bucket, b.account, b.priority, b.id`

	// LoadSessions reads sessions ($1 buckets, $2 keys, $3 sub-sessions).
	LoadSessions = `
select s.key, s.sub, s.bucket, s.account, s.session_id, s.service, s.client_host, s.client_realm, s.client_relay, s.client_state,
       s.opened_at, s.deadline, s.closed_at, s.late_until, s.targets, s.outcomes, s.served_top, s.served_bits
from unnest($1::smallint[], $2::uuid[], $3::bigint[]) k (bucket, key, sub)
join session s on s.bucket = k.bucket and s.key = k.key and s.sub = k.sub`

	// LoadFreezes reads the freezes of sessions ($1 buckets, $2 keys, $3 sub-sessions).
	LoadFreezes = `
select f.session, f.sub, f.target, f.balance, f.amount
from unnest($1::smallint[], $2::uuid[], $3::bigint[]) k (bucket, session, sub)
join session_freeze f on f.bucket = k.bucket and f.session = k.session and f.sub = k.sub
order by f.session, f.sub, f.target, f.balance`

	// LoadOutcomes reads outcomes without a session ($1 buckets, $2 session keys,
	// $3 sub-sessions, $4 types, $5 numbers).
	LoadOutcomes = `
select o.session, o.sub, o.type, o.number, o.outcome
from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::smallint[], $5::bigint[]) k (bucket, session, sub, type, number)
join outcome o on o.bucket = k.bucket and o.session = k.session and o.sub = k.sub and o.type = k.type and o.number = k.number`

	// LoadDebits reads event debits ($1 buckets, $2 tokens).
	LoadDebits = `
select d.bucket, d.account, d.token, d.balances, d.amounts, d.cost, d.reversed, d.unit, d.quantity
from unnest($1::smallint[], $2::bytea[]) k (bucket, token)
join event_debit d on d.bucket = k.bucket and d.token = k.token`
)

// The second round trip stores what was decided and commits.
const (
	// UpdateAccounts: the debt is all that a step changes of the account row.
	UpdateAccounts = `
update account a set debt = v.debt
from unnest($1::smallint[], $2::bigint[], $3::bigint[]) v (bucket, id, debt)
where a.bucket = v.bucket and a.id = v.id`

	UpdateBalances = `
update balance b set amount = v.amount, frozen = v.frozen
from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) v (bucket, account, id, amount, frozen)
where b.bucket = v.bucket and b.account = v.account and b.id = v.id`

	// InsertSessions: a new session is due at the minute of its deadline.
	InsertSessions = `
insert into session (bucket, key, sub, account, session_id, service, client_host, client_realm, client_relay, client_state,
       opened_at, deadline, due, closed_at, late_until, targets, outcomes, served_top, served_bits)
select v.bucket, v.key, v.sub, v.account, v.session_id, v.service, v.client_host, v.client_realm, v.client_relay, v.client_state,
       v.opened_at, v.deadline, date_trunc('minute', v.deadline), v.closed_at, v.late_until, v.targets, v.outcomes, v.served_top, v.served_bits
from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
            $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::bytea[], $16::bytea[], $17::bigint[], $18::bigint[])
     v (bucket, key, sub, account, session_id, service, client_host, client_realm, client_relay, client_state,
        opened_at, deadline, closed_at, late_until, targets, outcomes, served_top, served_bits)`

	// UpdateSessions moves due, which is indexed, only when less than half of the
	// supervision time is left before it, or when it would be after the deadline
	// ($15 is the transaction's clock): most updates then stay in their page.
	UpdateSessions = `
update session s set client_host = v.client_host, client_realm = v.client_realm, client_relay = v.client_relay, client_state = v.client_state,
       deadline = v.deadline,
       due = case when s.due <= v.deadline and s.due > $15::timestamptz + (v.deadline - $15::timestamptz) / 2
             then s.due else date_trunc('minute', v.deadline) end,
       closed_at = v.closed_at, late_until = v.late_until, targets = v.targets, outcomes = v.outcomes,
       served_top = v.served_top, served_bits = v.served_bits
from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::bytea[], $12::bytea[], $13::bigint[], $14::bigint[])
     v (bucket, key, sub, client_host, client_realm, client_relay, client_state,
        deadline, closed_at, late_until, targets, outcomes, served_top, served_bits)
where s.bucket = v.bucket and s.key = v.key and s.sub = v.sub`

	InsertFreezes = `
insert into session_freeze (bucket, session, sub, target, balance, amount)
select * from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])`

	UpdateFreezes = `
update session_freeze f set amount = v.amount
from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[]) v (bucket, session, sub, target, balance, amount)
where f.bucket = v.bucket and f.session = v.session and f.sub = v.sub and f.target = v.target and f.balance = v.balance`

	DeleteFreezes = `
delete from session_freeze f
using unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[]) v (bucket, session, sub, target, balance)
where f.bucket = v.bucket and f.session = v.session and f.sub = v.sub and f.target = v.target and f.balance = v.balance`

	InsertOutcomes = `
insert into outcome (bucket, session, sub, type, number, account, at, outcome)
select v.bucket, v.session, v.sub, v.type, v.number, v.account, $8::timestamptz, v.outcome
from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bytea[])
     v (bucket, session, sub, type, number, account, outcome)`

	// InsertDebit stores one debit: PostgreSQL has no arrays of arrays of
	// different lengths for their parts, and debits are rarer than steps.
	InsertDebit = `
insert into event_debit (bucket, token, account, at, balances, amounts, cost, reversed, unit, quantity)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	UpdateDebits = `
update event_debit d set reversed = v.reversed
from unnest($1::smallint[], $2::bytea[], $3::bigint[]) v (bucket, token, reversed)
where d.bucket = v.bucket and d.token = v.token`

	InsertJournal = `
insert into journal (bucket, account, at, balance, kind, session, session_id, sub, type, number, target, rating_group,
       used, debited, refunded, reserved, credited, overrun, amount_after, frozen_after, reversal_of, credit_key, credit_source)
select * from unnest($1::smallint[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::bigint[],
       $9::smallint[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
       $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bytea[], $22::text[], $23::text[])`

	// InsertOrphans: the repeat of an orphaned report is not a second one.
	InsertOrphans = `
insert into orphan_usage (session, sub, type, number, session_id, used, at)
select * from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::jsonb[], $7::timestamptz[])
on conflict do nothing`
)

// Look-ups without locks.
const (
	// ResolveSessions finds the account of Session-Ids ($1 keys). An open
	// session goes before closed ones.
	ResolveSessions = `
select k.n, s.bucket, s.account
from unnest($1::uuid[]) with ordinality k (key, n)
cross join lateral (select bucket, account from session where key = k.key
                    order by closed_at is not null, opened_at desc limit 1) s`

	// ResolveIdentities finds the accounts of identities ($1 kinds, $2 values).
	ResolveIdentities = `
select k.n, i.bucket, i.account
from unnest($1::smallint[], $2::text[]) with ordinality k (kind, value, n)
join identity i on i.kind = k.kind and i.value = k.value`

	// Expired lists up to $1 open sessions past their deadline, oldest first.
	Expired = `
select bucket, account, key, sub from session
where closed_at is null and due <= now() and deadline <= now()
order by due limit $1`
)
