package sql

// The statements of the money path, written for nested loops over primary keys
// (ocs/pgstore pins the plans).

// Loads. Under the accounts' locks each is a statement of its own: under READ
// COMMITTED it then sees what was committed before it began, so what another
// transaction committed while the lock was awaited. Without locks the accounts and
// their versions are read first: what is read after them can only be newer, which a
// store that names the versions finds out.
const (
	// LockAccounts locks accounts ($1 buckets, $2 ids) in key order and reads
	// them. No step changes a key, so the lock leaves foreign-key checks alone.
	LockAccounts = ReadAccounts + `
for no key update of a`

	// ReadAccounts reads the same without the lock.
	ReadAccounts = `
select ` + accountColumns + `
from generate_subscripts($1::smallint[], 1) n
join account a on a.bucket = ($1::smallint[])[n] and a.id = ($2::bigint[])[n]
order by a.bucket, a.id`

	// Clock reads the time for every deadline. now() would be the time before
	// the locks were granted.
	Clock = `select clock_timestamp()`

	// LockBalances locks the balances of accounts ($1 buckets, $2 ids) in key order
	// and reads them.
	LockBalances = ReadBalances + `
for no key update of b`

	// ReadBalances reads the same without the lock.
	ReadBalances = `
select ` + balanceColumns + `
from generate_subscripts($1::smallint[], 1) n
join balance b on b.bucket = ($1::smallint[])[n] and b.account = ($2::bigint[])[n]
order by b.bucket, b.account, b.id`

	// ReadGuarded reads accounts ($1 buckets, $2 ids) with each of their balances, as
	// they are at one moment; those without a balance are left out.
	ReadGuarded = `
select ` + accountColumns + `, ` + balanceColumns + `
from (select unnest($1::smallint[]) bucket, unnest($2::bigint[]) id) v
join account a on a.bucket = v.bucket and a.id = v.id
join balance b on b.bucket = v.bucket and b.account = v.id`

	accountColumns = `a.bucket, a.id, a.currency, a.class, a.closed_at is not null,
       a.lost_since, coalesce(a.lost_by, ''), coalesce(a.lost_reason, ''),
       a.blocked_since, coalesce(a.blocked_by, ''), coalesce(a.blocked_reason, ''),
       a.valid_from, a.valid_until, a.threshold, a.zone, a.debt`

	balanceColumns = `b.bucket, b.account, b.id, b.unit, b.amount, b.frozen, b.services, b.targets, b.priority, b.valid_from, b.valid_until, b.version`

	// LoadSessions reads sessions ($1 keys, $2 sub-sessions), whosever they are.
	LoadSessions = `
select s.key, s.sub, s.bucket, s.account, s.session_id, s.service, s.client_host, s.client_realm, s.client_relay, s.client_state,
       s.opened_at, s.deadline, s.closed_at, s.late_until, s.targets, s.outcomes, s.served_top, s.served_bits
from generate_subscripts($1::uuid[], 1) n
join session s on s.key = ($1::uuid[])[n] and s.sub = ($2::bigint[])[n]`

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

// The stores. Each works on a set: parallel arrays in, one for each column, all rows
// of a batch at once. Accounts, balances and sessions are sorted by key by the caller,
// so that concurrent transactions meet in the same order. Several unnest in one select list advance together; in the
// from list, each would fill a temporary table.
//
// What a store was decided on is named by versions, and a difference fails the
// whole transaction by an error that nothing else raises: a null where none may be,
// a duplicate key, a division by zero, the root of a negative number.
const (
	// UpdateAccounts: the debt is all that a step changes of the account row.
	UpdateAccounts = `
update account a set debt = v.debt
from (select unnest($1::smallint[]) bucket, unnest($2::bigint[]) id, unnest($3::bigint[]) debt) v
where a.bucket = v.bucket and a.id = v.id`

	// UpdateBalances raises the version of each, when it is the one named, and amount
	// and frozen are what they were then: somebody may have changed them by hand.
	UpdateBalances = `
update balance b set amount = v.amount, frozen = v.frozen,
       version = case when b.version = v.version and b.amount = v.was_amount and b.frozen = v.was_frozen then v.version + 1 end
from (select unnest($1::smallint[]) bucket, unnest($2::bigint[]) account, unnest($3::bigint[]) id,
             unnest($4::bigint[]) amount, unnest($5::bigint[]) frozen,
             unnest($6::bigint[]) version, unnest($7::bigint[]) was_amount, unnest($8::bigint[]) was_frozen) v
where b.bucket = v.bucket and b.account = v.account and b.id = v.id`

	// RaiseVersions locks the balances of an account ($1 bucket, $2 id) for somebody
	// who changes something under it beside the engine.
	RaiseVersions = `update balance set version = version + 1 where bucket = $1 and account = $2`

	// CheckVersions fails unless these balances have the named versions: an answer
	// that changes nothing was decided on them.
	CheckVersions = `
select 1 / case when b.version = v.version then 1 else 0 end
from (select unnest($1::smallint[]) bucket, unnest($2::bigint[]) account, unnest($3::bigint[]) id, unnest($4::bigint[]) version) v
left join balance b on b.bucket = v.bucket and b.account = v.account and b.id = v.id`

	// CheckAbsent fails when one of these sessions, or the outcome of the request
	// that would have begun it, is there: by a root of a negative number.
	CheckAbsent = `
select sqrt(case when ` + sessionThere + ` or ` + refusedBefore + ` then -1 else 0 end)
from (select unnest($1::smallint[]) bucket, unnest($2::uuid[]) key, unnest($3::bigint[]) sub, unnest($4::smallint[]) type, unnest($5::bigint[]) number) v`

	// InsertSessions: a new session is due at the minute of its deadline. $19 and
	// $20 are type and number of the request that began it. When the session is
	// there already, under whatever account, its key is a duplicate; when the request
	// was refused before, the account is null. Both fail.
	InsertSessions = `
insert into session (bucket, key, sub, account, session_id, service,
       client_host, client_realm, client_relay, client_state, opened_at, deadline, due,
       closed_at, late_until, targets, outcomes, served_top, served_bits)
select v.bucket, v.key, v.sub, case when not ` + refusedBefore + ` then v.account end, v.session_id, v.service,
       v.client_host, v.client_realm, v.client_relay, v.client_state, v.opened_at, v.deadline, date_trunc('minute', v.deadline),
       v.closed_at, v.late_until, v.targets, v.outcomes, v.served_top, v.served_bits
from (select unnest($1::smallint[]) bucket, unnest($2::uuid[]) key, unnest($3::bigint[]) sub, unnest($4::bigint[]) account,
             unnest($5::text[]) session_id, unnest($6::text[]) service,
             unnest($7::text[]) client_host, unnest($8::text[]) client_realm, unnest($9::text[]) client_relay, unnest($10::bigint[]) client_state,
             unnest($11::timestamptz[]) opened_at, unnest($12::timestamptz[]) deadline,
             unnest($13::timestamptz[]) closed_at, unnest($14::timestamptz[]) late_until, unnest($15::bytea[]) targets, unnest($16::bytea[]) outcomes,
             unnest($17::bigint[]) served_top, unnest($18::bigint[]) served_bits, unnest($19::smallint[]) type, unnest($20::bigint[]) number) v`

	// The limits keep the planner from hashing the whole of both tables, which is
	// what it makes of an exists.
	sessionThere = `coalesce((select true from session s where s.key = v.key and s.sub = v.sub limit 1), false)`

	refusedBefore = `coalesce((select true from outcome o
       where o.bucket = v.bucket and o.session = v.key and o.sub = v.sub and o.type = v.type and o.number = v.number limit 1), false)`

	// UpdateSessions moves due, which is indexed, only when less than half of the
	// supervision time is left before it, or when it would be after the deadline
	// ($10 is the transaction's clock): most updates then stay in their page.
	UpdateSessions = `
update session s set deadline = v.deadline,
       due = case when s.due <= v.deadline and s.due > $10::timestamptz + (v.deadline - $10::timestamptz) / 2
             then s.due else date_trunc('minute', v.deadline) end,
       closed_at = v.closed_at, late_until = v.late_until, targets = v.targets, outcomes = v.outcomes,
       served_top = v.served_top, served_bits = v.served_bits
from (select unnest($1::uuid[]) key, unnest($2::bigint[]) sub, unnest($3::timestamptz[]) deadline,
             unnest($4::timestamptz[]) closed_at, unnest($5::timestamptz[]) late_until, unnest($6::bytea[]) targets, unnest($7::bytea[]) outcomes,
             unnest($8::bigint[]) served_top, unnest($9::bigint[]) served_bits) v
where s.key = v.key and s.sub = v.sub`

	// UpdateClients stores where sessions' clients are now, when that has changed.
	UpdateClients = `
update session s set client_host = v.host, client_realm = v.realm, client_relay = v.relay, client_state = v.state
from (select unnest($1::uuid[]) key, unnest($2::bigint[]) sub,
             unnest($3::text[]) host, unnest($4::text[]) realm, unnest($5::text[]) relay, unnest($6::bigint[]) state) v
where s.key = v.key and s.sub = v.sub`

	// InsertOutcomes: $8 is the transaction's clock.
	InsertOutcomes = `
insert into outcome (bucket, session, sub, type, number, account, outcome, at)
select unnest($1::smallint[]), unnest($2::uuid[]), unnest($3::bigint[]), unnest($4::smallint[]), unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::bytea[]), $8`

	// InsertDebits: the parts of a debit come as text, because PostgreSQL has no
	// arrays of arrays of different lengths. $10 is the transaction's clock.
	InsertDebits = `
insert into event_debit (bucket, token, account, balances, amounts, cost, reversed, unit, quantity, at)
select unnest($1::smallint[]), unnest($2::bytea[]), unnest($3::bigint[]), unnest($4::text[])::bigint[], unnest($5::text[])::bigint[],
       unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::smallint[]), unnest($9::bigint[]), $10::timestamptz`

	UpdateDebits = `
update event_debit d set reversed = v.reversed
from (select unnest($1::smallint[]) bucket, unnest($2::bytea[]) token, unnest($3::bigint[]) reversed) v
where d.bucket = v.bucket and d.token = v.token`

	// InsertCredits writes journal rows with all their columns.
	InsertCredits = `
insert into journal (` + journalColumns + `)
select unnest($1::smallint[]), unnest($2::bigint[]), unnest($3::timestamptz[]), unnest($4::bigint[]), unnest($5::text[]), unnest($6::uuid[]), unnest($7::text[]), unnest($8::bigint[]),
       unnest($9::smallint[]), unnest($10::bigint[]), unnest($11::text[]), unnest($12::bigint[]), unnest($13::bigint[]), unnest($14::bigint[]), unnest($15::bigint[]), unnest($16::bigint[]),
       unnest($17::bigint[]), unnest($18::bigint[]), unnest($19::bigint[]), unnest($20::bigint[]), unnest($21::bytea[]), unnest($22::text[]), unnest($23::text[])`

	// InsertCredit writes one such row.
	InsertCredit = `
insert into journal (` + journalColumns + `)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`

	journalColumns = `bucket, account, at, balance, kind, session, session_id, sub,
       type, number, target, rating_group, used, debited, refunded, reserved,
       credited, overrun, amount_after, frozen_after, reversal_of, credit_key, credit_source`

	// InsertMoves writes rows that credit nothing, all of one
	// instant ($19): nearly all that charging writes.
	InsertMoves = `
insert into journal (bucket, account, balance, kind, session, session_id, sub, type, number, target, rating_group,
       used, debited, refunded, reserved, overrun, amount_after, frozen_after, at, credited)
select unnest($1::smallint[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::text[]), unnest($5::uuid[]), unnest($6::text[]), unnest($7::bigint[]), unnest($8::smallint[]),
       unnest($9::bigint[]), unnest($10::text[]), unnest($11::bigint[]), unnest($12::bigint[]), unnest($13::bigint[]), unnest($14::bigint[]), unnest($15::bigint[]),
       unnest($16::bigint[]), unnest($17::bigint[]), unnest($18::bigint[]), $19::timestamptz, 0`

	// InsertOrphans: the repeat of an orphaned report is not a second one.
	InsertOrphans = `
insert into orphan_usage (session, sub, type, number, session_id, used, at, mismatch)
select unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::smallint[]), unnest($4::bigint[]), unnest($5::text[]), unnest($6::jsonb[]), unnest($7::timestamptz[]), unnest($8::boolean[])
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

	// ResolveIdentities finds the accounts of identities ($1 kinds, $2 values), and
	// reads those that have a balance with each of their balances.
	ResolveIdentities = `
select v.n, i.bucket, i.account, ` + accountColumns + `, ` + balanceColumns + `
from (select generate_subscripts($1::smallint[], 1) n, unnest($1::smallint[]) kind, unnest($2::text[]) value) v
join identity i on i.kind = v.kind and i.value = v.value
left join (account a join balance b on b.bucket = a.bucket and b.account = a.id) on a.bucket = i.bucket and a.id = i.account`

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
