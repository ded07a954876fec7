package sql

// The statements of the money path. Each works on a set: parallel arrays in, one
// for each column, all rows of a batch at once. Row n of the set has element n of
// each array; generate_subscripts counts the rows. (The usual unnest of several
// arrays builds a temporary table for each of them, which costs a small batch more
// than all its work.) The statements are written for nested loops over primary keys
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
from generate_subscripts($1::smallint[], 1) n
join account a on a.bucket = ($1::smallint[])[n] and a.id = ($2::bigint[])[n]
order by a.bucket, a.id`

	// Clock reads the time for every deadline. now() would be the time before
	// the locks were granted.
	Clock = `select clock_timestamp()`

	// LoadBalances reads the balances of accounts ($1 buckets, $2 ids).
	LoadBalances = `
select b.bucket, b.account, b.id, b.unit, b.amount, b.frozen, b.services, b.targets, b.priority, b.valid_from, b.valid_until
from generate_subscripts($1::smallint[], 1) n
join balance b on b.bucket = ($1::smallint[])[n] and b.account = ($2::bigint[])[n]
order by b.bucket, b.account, b.priority, b.id`

	// LoadSessions reads sessions ($1 buckets, $2 keys, $3 sub-sessions).
	LoadSessions = `
select s.key, s.sub, s.bucket, s.account, s.session_id, s.service, s.client_host, s.client_realm, s.client_relay, s.client_state,
       s.opened_at, s.deadline, s.closed_at, s.late_until, s.targets, s.outcomes, s.served_top, s.served_bits
from generate_subscripts($1::smallint[], 1) n
join session s on s.bucket = ($1::smallint[])[n] and s.key = ($2::uuid[])[n] and s.sub = ($3::bigint[])[n]`

	// LoadFreezes reads the freezes of sessions ($1 buckets, $2 keys, $3 sub-sessions).
	LoadFreezes = `
select f.session, f.sub, f.target, f.balance, f.amount
from generate_subscripts($1::smallint[], 1) n
join session_freeze f on f.bucket = ($1::smallint[])[n] and f.session = ($2::uuid[])[n] and f.sub = ($3::bigint[])[n]
order by f.session, f.sub, f.target, f.balance`

	// LoadOutcomes reads outcomes without a session ($1 buckets, $2 session keys,
	// $3 sub-sessions, $4 types, $5 numbers).
	LoadOutcomes = `
select o.session, o.sub, o.type, o.number, o.outcome
from generate_subscripts($1::smallint[], 1) n
join outcome o on o.bucket = ($1::smallint[])[n] and o.session = ($2::uuid[])[n] and o.sub = ($3::bigint[])[n]
              and o.type = ($4::smallint[])[n] and o.number = ($5::bigint[])[n]`

	// LoadDebits reads event debits ($1 buckets, $2 tokens).
	LoadDebits = `
select d.bucket, d.account, d.token, d.balances, d.amounts, d.cost, d.reversed, d.unit, d.quantity
from generate_subscripts($1::smallint[], 1) n
join event_debit d on d.bucket = ($1::smallint[])[n] and d.token = ($2::bytea[])[n]`
)

// The second round trip stores what was decided and commits.
const (
	// UpdateAccounts: the debt is all that a step changes of the account row.
	UpdateAccounts = `
update account a set debt = ($3::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n
where a.bucket = ($1::smallint[])[n] and a.id = ($2::bigint[])[n]`

	UpdateBalances = `
update balance b set amount = ($4::bigint[])[n], frozen = ($5::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n
where b.bucket = ($1::smallint[])[n] and b.account = ($2::bigint[])[n] and b.id = ($3::bigint[])[n]`

	// InsertSessions: a new session is due at the minute of its deadline ($12).
	InsertSessions = `
insert into session (bucket, key, sub, account, session_id, service,
       client_host, client_realm, client_relay, client_state, opened_at, deadline, due,
       closed_at, late_until, targets, outcomes, served_top, served_bits)
select ($1::smallint[])[n], ($2::uuid[])[n], ($3::bigint[])[n], ($4::bigint[])[n], ($5::text[])[n], ($6::text[])[n],
       ($7::text[])[n], ($8::text[])[n], ($9::text[])[n], ($10::bigint[])[n],
       ($11::timestamptz[])[n], ($12::timestamptz[])[n], date_trunc('minute', ($12::timestamptz[])[n]),
       ($13::timestamptz[])[n], ($14::timestamptz[])[n], ($15::bytea[])[n], ($16::bytea[])[n], ($17::bigint[])[n], ($18::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n`

	// UpdateSessions moves due, which is indexed, only when less than half of the
	// supervision time is left before it, or when it would be after the deadline
	// ($8; $15 is the transaction's clock): most updates then stay in their page.
	UpdateSessions = `
update session s set client_host = ($4::text[])[n], client_realm = ($5::text[])[n], client_relay = ($6::text[])[n], client_state = ($7::bigint[])[n],
       deadline = ($8::timestamptz[])[n],
       due = case when s.due <= ($8::timestamptz[])[n] and s.due > $15::timestamptz + (($8::timestamptz[])[n] - $15::timestamptz) / 2
             then s.due else date_trunc('minute', ($8::timestamptz[])[n]) end,
       closed_at = ($9::timestamptz[])[n], late_until = ($10::timestamptz[])[n], targets = ($11::bytea[])[n], outcomes = ($12::bytea[])[n],
       served_top = ($13::bigint[])[n], served_bits = ($14::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n
where s.bucket = ($1::smallint[])[n] and s.key = ($2::uuid[])[n] and s.sub = ($3::bigint[])[n]`

	InsertFreezes = `
insert into session_freeze (bucket, session, sub, target, balance, amount)
select ($1::smallint[])[n], ($2::uuid[])[n], ($3::bigint[])[n], ($4::text[])[n], ($5::bigint[])[n], ($6::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n`

	UpdateFreezes = `
update session_freeze f set amount = ($6::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n
where f.bucket = ($1::smallint[])[n] and f.session = ($2::uuid[])[n] and f.sub = ($3::bigint[])[n]
  and f.target = ($4::text[])[n] and f.balance = ($5::bigint[])[n]`

	DeleteFreezes = `
delete from session_freeze f
using generate_subscripts($1::smallint[], 1) n
where f.bucket = ($1::smallint[])[n] and f.session = ($2::uuid[])[n] and f.sub = ($3::bigint[])[n]
  and f.target = ($4::text[])[n] and f.balance = ($5::bigint[])[n]`

	// InsertOutcomes: $8 is the transaction's clock.
	InsertOutcomes = `
insert into outcome (bucket, session, sub, type, number, account, outcome, at)
select ($1::smallint[])[n], ($2::uuid[])[n], ($3::bigint[])[n], ($4::smallint[])[n], ($5::bigint[])[n], ($6::bigint[])[n], ($7::bytea[])[n], $8
from generate_subscripts($1::smallint[], 1) n`

	// InsertDebit stores one debit: PostgreSQL has no arrays of arrays of
	// different lengths for their parts, and debits are rarer than steps.
	InsertDebit = `
insert into event_debit (bucket, token, account, at, balances, amounts, cost, reversed, unit, quantity)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	UpdateDebits = `
update event_debit d set reversed = ($3::bigint[])[n]
from generate_subscripts($1::smallint[], 1) n
where d.bucket = ($1::smallint[])[n] and d.token = ($2::bytea[])[n]`

	InsertJournal = `
insert into journal (bucket, account, at, balance, kind, session, session_id, sub,
       type, number, target, rating_group, used, debited, refunded, reserved,
       credited, overrun, amount_after, frozen_after, reversal_of, credit_key, credit_source)
select ($1::smallint[])[n], ($2::bigint[])[n], ($3::timestamptz[])[n], ($4::bigint[])[n], ($5::text[])[n], ($6::uuid[])[n], ($7::text[])[n], ($8::bigint[])[n],
       ($9::smallint[])[n], ($10::bigint[])[n], ($11::text[])[n], ($12::bigint[])[n], ($13::bigint[])[n], ($14::bigint[])[n], ($15::bigint[])[n], ($16::bigint[])[n],
       ($17::bigint[])[n], ($18::bigint[])[n], ($19::bigint[])[n], ($20::bigint[])[n], ($21::bytea[])[n], ($22::text[])[n], ($23::text[])[n]
from generate_subscripts($1::smallint[], 1) n`

	// InsertOrphans: the repeat of an orphaned report is not a second one.
	InsertOrphans = `
insert into orphan_usage (session, sub, type, number, session_id, used, at, mismatch)
select ($1::uuid[])[n], ($2::bigint[])[n], ($3::smallint[])[n], ($4::bigint[])[n], ($5::text[])[n], ($6::jsonb[])[n], ($7::timestamptz[])[n], ($8::boolean[])[n]
from generate_subscripts($1::uuid[], 1) n
on conflict do nothing`
)

// Look-ups without locks.
const (
	// ResolveSessions finds the account of Session-Ids ($1 keys). An open
	// session goes before closed ones.
	ResolveSessions = `
select n, s.bucket, s.account
from generate_subscripts($1::uuid[], 1) n
cross join lateral (select bucket, account from session where key = ($1::uuid[])[n]
                    order by closed_at is not null, opened_at desc limit 1) s`

	// ResolveIdentities finds the accounts of identities ($1 kinds, $2 values).
	ResolveIdentities = `
select n, i.bucket, i.account
from generate_subscripts($1::smallint[], 1) n
join identity i on i.kind = ($1::smallint[])[n] and i.value = ($2::text[])[n]`

	// Expired lists up to $1 open sessions past their deadline, oldest first,
	// without some ($2 keys, $3 sub-sessions).
	Expired = `
select s.bucket, s.account, s.key, s.sub from session s
where s.closed_at is null and s.due <= now() and s.deadline <= now() and ` + notSkipped + `
order by s.due limit $1`

	// Restarted lists clients that have restarted more than $1 seconds ago and
	// whose sessions have not been looked for since.
	Restarted = `
select host, state from client_state where not swept and since <= now() - make_interval(secs => $1) order by since limit $2`

	// Orphans lists up to $1 open sessions of a client ($4 Origin-Host in lower
	// case) with a lower Origin-State-Id than $5, without some ($2, $3).
	Orphans = `
select s.bucket, s.account, s.key, s.sub from session s
where s.closed_at is null and lower(s.client_host) = $4 and s.client_state <> 0 and s.client_state < $5 and ` + notSkipped + `
limit $1`

	// Swept says that no orphans of a client ($1) below its state $2 are left.
	Swept = `update client_state set swept = true where host = $1 and state = $2`

	// ClientStarted records the Origin-State-Id of a client, when it is a rise.
	ClientStarted = `
insert into client_state as c (host, state, since) values ($1, $2, now())
on conflict (host) do update set state = excluded.state, since = excluded.since, swept = false where c.state < excluded.state`

	notSkipped = `
  not exists (select from generate_subscripts($2::uuid[], 1) k where ($2::uuid[])[k] = s.key and ($3::bigint[])[k] = s.sub)`
)
