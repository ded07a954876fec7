-- +goose Up

-- The books of the online charging system.
--
-- Rules that hold everywhere:
-- * Money is a bigint in millionths of the currency's unit. No float, no numeric.
-- * Every key of the money path begins with the account's bucket (0 to 1023): a
--   lane, a shard or a cluster owns whole buckets, and no step leaves its bucket.
-- * The account row is the one mutex: whoever changes anything under an account
--   takes `select ... from account ... for no key update` first, in key order.
-- * What one row can tell is a constraint; what takes several rows is checked by
--   `gygate verify`. The money path has no foreign keys for that reason: each
--   would cost a look-up and a lock a row.
-- * Unsigned 32-bit numbers of the protocol stand in bigint. CC-Sub-Session-Id, an
--   unsigned 64-bit number, stands in bigint bit by bit (above 2^63 it shows as
--   negative); it is only ever compared for equality.
-- * Unit kinds: 1 seconds, 2 octets, 3 events, 4 money.
-- * Tables whose rows are updated by every step keep room in their pages
--   (fillfactor), and no index has a column that such an update changes, so that
--   the updates stay inside the page (HOT).

create sequence account_id;

-- account_bucket places an account. The result is stored with the account and
-- never computed again, so the function may change for new accounts.
-- +goose StatementBegin
create function account_bucket(id bigint) returns smallint
    language sql immutable strict parallel safe
    return (hashint8extended(id, 0) & 1023)::smallint;
-- +goose StatementEnd

create table account (
    bucket         smallint    not null check (bucket between 0 and 1023),
    id             bigint      not null,
    currency       integer     not null check (currency between 0 and 999), -- ISO 4217 number
    class          text        not null default '',                        -- service class
    created_at     timestamptz not null default now(),
    closed_at      timestamptz,
    lost_since     timestamptz, -- reported lost: when, by whom, why
    lost_by        text,
    lost_reason    text,
    blocked_since  timestamptz, -- blocked by the operator: when, by whom, why
    blocked_by     text,
    blocked_reason text,
    valid_from     timestamptz, -- null: always
    valid_until    timestamptz, -- null: for ever; exclusive
    threshold      bigint      not null default 0 check (threshold >= 0), -- gates authenticate
    zone           text        not null default 'UTC', -- IANA zone that bounds the account's days
    debt           bigint      not null default 0 check (debt >= 0), -- overrun nobody paid
    primary key (bucket, id),
    check (valid_from < valid_until),
    check ((lost_since is null) = (lost_by is null) and (lost_since is null) = (lost_reason is null)),
    check ((blocked_since is null) = (blocked_by is null) and (blocked_since is null) = (blocked_reason is null))
) with (fillfactor = 70);

-- identity finds the account of a Subscription-Id. It lies outside the bucket
-- rule: it is what the bucket is found by.
create table identity (
    kind    smallint not null check (kind between 0 and 4), -- Subscription-Id-Type: E164, IMSI, SIP URI, NAI, private
    value   text     not null check (value <> ''),          -- normalised
    bucket  smallint not null,
    account bigint   not null,
    primary key (kind, value),
    foreign key (bucket, account) references account
);
create index identity_account on identity (bucket, account);

create sequence balance_id;

-- balance is one pot of an account. What can still be reserved is amount - frozen.
create table balance (
    bucket      smallint not null,
    account     bigint   not null,
    id          bigint   not null default nextval('balance_id'), -- unique over all accounts
    unit        smallint not null check (unit between 1 and 4),
    amount      bigint   not null,
    frozen      bigint   not null default 0,
    services    text[],                    -- service contexts that may use it; null: all
    targets     bigint[],                  -- rating groups that may use it; null: all
    priority    integer  not null default 0, -- lower is used first
    valid_from  timestamptz,
    valid_until timestamptz,
    primary key (bucket, account, id),
    foreign key (bucket, account) references account,
    constraint balance_never_below_frozen check (0 <= frozen and frozen <= amount)
) with (fillfactor = 70);

-- session is a credit-control session, open or closed. Closed ones stay for the
-- retention time, so that repeats and late requests find them.
create table session (
    bucket       smallint    not null,
    key          uuid        not null, -- first 128 bits of SHA-256 of the Session-Id
    sub          bigint      not null, -- CC-Sub-Session-Id, 0 without
    account      bigint      not null,
    session_id   text        not null, -- the text stands here once
    service      text        not null,
    client_host  text        not null, -- Origin-Host
    client_realm text        not null,
    client_relay text        not null, -- the transport peer that delivered the last request
    client_state bigint      not null, -- Origin-State-Id, 0 when absent
    opened_at    timestamptz not null,
    deadline     timestamptz not null, -- supervision (Tcc) ends the session from then on
    -- due is never after the deadline and is moved seldom (when less than half of
    -- the supervision time is left), so that most updates leave its index alone.
    due          timestamptz not null,
    closed_at    timestamptz,
    late_until   timestamptz, -- until then one CCR-T after a failed CCR-U is debited
    targets      bytea       not null, -- per target: used, charged, open grant (ocs/pgstore encodes it)
    outcomes     bytea       not null, -- the last outcomes, for repeats (likewise)
    served_top   bigint      not null, -- highest request number served ...
    served_bits  bigint      not null, -- ... and a bit for each of the 64 below and it
    primary key (bucket, key, sub),
    constraint session_times_in_order check (due <= deadline and (closed_at is null or closed_at >= opened_at))
) with (fillfactor = 50); -- rows grow with their outcomes
create index session_key on session (key); -- resolve: which account has this Session-Id?
create index session_due on session (due) where closed_at is null;
create index session_opened on session using brin (opened_at); -- for retention: costs next to nothing

-- session_freeze is a part of a balance set aside for one target of one open session.
create table session_freeze (
    bucket  smallint not null,
    session uuid     not null,
    sub     bigint   not null,
    target  text     not null,
    balance bigint   not null,
    amount  bigint   not null check (amount > 0), -- in the balance's unit
    primary key (bucket, session, sub, target, balance)
) with (fillfactor = 70);

-- outcome answers repeats of requests that have no session: events and refused
-- CCR-Initials.
create table outcome (
    bucket  smallint    not null,
    session uuid        not null,
    sub     bigint      not null,
    type    smallint    not null, -- CC-Request-Type
    number  bigint      not null, -- CC-Request-Number
    account bigint      not null,
    at      timestamptz not null,
    outcome bytea       not null, -- content hash and outcome (ocs/pgstore encodes it)
    primary key (bucket, session, sub, type, number)
);
create index outcome_at on outcome using brin (at); -- for retention: costs next to nothing

-- event_debit is a one-time debit that a REFUND_ACCOUNT may take back by its token.
create table event_debit (
    bucket   smallint    not null,
    token    bytea       not null, -- Refund-Information
    account  bigint      not null,
    at       timestamptz not null,
    balances bigint[]    not null, -- what came out of which balance ...
    amounts  bigint[]    not null, -- ... in the balances' units
    cost     bigint      not null check (cost >= 0),
    reversed bigint      not null,
    unit     smallint    not null check (unit between 0 and 4),
    quantity bigint      not null check (quantity >= 0),
    primary key (bucket, token),
    check (cardinality(balances) = cardinality(amounts)),
    constraint event_debit_never_over_reversed check (0 <= reversed and reversed <= cost)
);
create index event_debit_at on event_debit using brin (at);

create sequence journal_id cache 64;

-- journal is the append-only record of everything that moved: per request and
-- balance what was debited, refunded (unfrozen), reserved (frozen), credited or
-- overrun, and the balance after it. The bill is made from it.
create table journal (
    bucket        smallint    not null,
    account       bigint      not null,
    at            timestamptz not null,
    id            bigint      not null default nextval('journal_id'), -- orders the rows of one instant
    balance       bigint      not null, -- 0: no balance (overrun)
    kind          text        not null, -- step, credit, overrun, expire, forfeit, debt
    session       uuid,
    session_id    text,                 -- on the first row of a session and on events; else by the key
    sub           bigint      not null,
    type          smallint    not null,
    number        bigint      not null,
    target        text        not null,
    rating_group  bigint      not null,
    used          bigint      not null,
    debited       bigint      not null,
    refunded      bigint      not null,
    reserved      bigint      not null,
    credited      bigint      not null,
    overrun       bigint      not null,
    amount_after  bigint      not null,
    frozen_after  bigint      not null,
    reversal_of   bytea,
    credit_key    text,
    credit_source text,
    primary key (bucket, account, at, id),
    -- one constraint, since each is made ready anew for each statement
    constraint journal_never_negative check (
        least(used, debited, refunded, reserved, credited, overrun, amount_after, frozen_after) >= 0)
) partition by range (at);

-- Rows whose month has no partition yet land here, so that charging never stops
-- for want of one; journal_add_months moves them out.
create table journal_default partition of journal default;

-- journal_add_months makes sure of the partition of this month and of the given
-- number of months ahead, and returns how many it created.
-- +goose StatementBegin
create function journal_add_months(ahead integer) returns integer
    language plpgsql as $$
declare
    start   timestamptz;
    stop    timestamptz;
    part    text;
    created integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('journal partitions'));
    for i in 0..ahead loop
        start := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
        stop  := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => i + 1)) at time zone 'UTC';
        part  := 'journal_' || to_char(start at time zone 'UTC', 'YYYY_MM');
        continue when to_regclass(part) is not null;
        -- what charging is just writing there is waited for, and moved, too
        lock table journal_default in access exclusive mode;
        execute format('create table %I (like journal including all)', part);
        execute format('with moved as (delete from journal_default where at >= %L and at < %L returning *)
                        insert into %I select * from moved', start, stop, part);
        execute format('alter table journal attach partition %I for values from (%L) to (%L)', part, start, stop);
        created := created + 1;
    end loop;
    return created;
end $$;
-- +goose StatementEnd

-- closing keeps what the dropped journal partitions said of a balance, so that
-- the books still add up: credits - debits of the journal and the closing = amount.
-- Balance 0 stands for rows without a balance (overruns).
create table closing (
    bucket   smallint    not null,
    account  bigint      not null,
    balance  bigint      not null,
    until    timestamptz not null, -- all rows before it are summed up here
    credited bigint      not null check (credited >= 0),
    debited  bigint      not null check (debited >= 0),
    reversed bigint      not null check (reversed >= 0), -- the part of credited that took debits back
    overrun  bigint      not null check (overrun >= 0),  -- of the account, in the row of balance 0
    repaid   bigint      not null check (repaid >= 0),   -- the part of debited that paid debt
    primary key (bucket, account, balance)
);

-- journal_drop_before sums up and drops the months that end at or before a time,
-- and returns how many it dropped.
-- +goose StatementBegin
create function journal_drop_before(horizon timestamptz) returns integer
    language plpgsql as $$
declare
    part    text;
    parts   text[] := '{}';
    stop    timestamptz;
begin
    perform pg_advisory_xact_lock(hashtext('journal partitions'));
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'journal'::regclass and c.relname ~ '^journal_\d{4}_\d{2}$' order by c.relname
    loop
        stop := (to_date(substring(part from 9), 'YYYY_MM')::timestamp + interval '1 month') at time zone 'UTC';
        continue when stop > horizon;
        execute format('lock table %I in share mode', part);
        execute format('insert into closing as c (bucket, account, balance, until, credited, debited, reversed, overrun, repaid)
            select bucket, account, balance, %L, sum(credited), sum(debited),
                   coalesce(sum(credited) filter (where credit_source = ''reversal''), 0), sum(overrun),
                   coalesce(sum(debited) filter (where kind = ''debt''), 0)
            from %I group by bucket, account, balance
            on conflict (bucket, account, balance) do update set until = excluded.until,
                credited = c.credited + excluded.credited, debited = c.debited + excluded.debited,
                reversed = c.reversed + excluded.reversed, overrun = c.overrun + excluded.overrun,
                repaid = c.repaid + excluded.repaid', stop, part);
        parts := parts || part;
    end loop;
    -- a drop locks the whole journal up to the commit: not before all is summed up
    foreach part in array parts loop
        execute format('drop table %I', part);
    end loop;
    return cardinality(parts);
end $$;
-- +goose StatementEnd

select journal_add_months(3);

-- credit is the idempotency record of a top-up, voucher, adjustment or opening
-- balance. Its key is unique over all accounts (outside the bucket rule): a
-- voucher works once in the whole network.
create table credit (
    key       text        not null primary key check (key <> ''),
    bucket    smallint    not null,
    account   bigint      not null,
    balance   bigint      not null,
    amount    bigint      not null check (amount > 0),
    debt_paid bigint      not null default 0,
    source    text        not null, -- top-up, voucher, adjustment, opening
    by        text        not null, -- who did it
    at        timestamptz not null,
    check (0 <= debt_paid and debt_paid <= amount)
);

-- orphan_usage is use reported for a session that is unknown or over: nothing is
-- charged, an operator can see it. A repeat of the report is not a second row.
create table orphan_usage (
    session    uuid        not null,
    sub        bigint      not null,
    type       smallint    not null,
    number     bigint      not null,
    session_id text        not null,
    used       jsonb       not null,
    at         timestamptz not null,
    primary key (session, sub, type, number)
);
create index orphan_usage_at on orphan_usage using brin (at);

-- tariff_entry is one version of one price.
create table tariff_entry (
    id           text     not null check (id <> ''),
    version      integer  not null check (version > 0),
    service      text     not null, -- service context, or *
    rating_group bigint   not null check (rating_group between 0 and 4294967295),
    prefix       text     not null check (prefix ~ '^[0-9]*$'), -- the longest match wins
    unit         smallint not null check (unit between 1 and 4),
    currency     integer  not null check (currency between 0 and 999),
    fee          bigint   not null check (fee >= 0),     -- connection fee
    minimum      bigint   not null check (minimum >= 0), -- the least a use costs
    first        bigint   not null check (first >= 0),   -- units of the first increment, 0: 1
    following    bigint   not null check (following >= 0),
    price        bigint   not null check (price >= 0),   -- for `per` units
    per          bigint   not null check (per >= 0),
    bands        jsonb,                                  -- prices by the clock
    zone         text     not null,                      -- of the bands
    valid_from   timestamptz,                            -- null: always
    primary key (id, version)
);

-- service_context is a service the OCS serves.
create table service_context (
    name                 text     not null primary key check (name <> ''), -- without operator and release labels
    default_rating_group bigint   not null check (default_rating_group between 0 and 4294967295),
    unit                 smallint not null check (unit between 0 and 4),
    item_refusals        boolean  not null,
    validity_seconds     integer  not null check (validity_seconds >= 0),    -- 0: the policy's
    supervision_seconds  integer  not null check (supervision_seconds >= 0)  -- 0: the policy's
);

-- The services of 3GPP that come without configuration: voice over IMS (TS 32.260)
-- and by IM-SSF (TS 32.276), data (TS 32.251), whose gateways want refusals inside
-- the items, and short messages (TS 32.274). None has a price until a tariff is
-- imported; an item that names no rating group is a call off-net (101).
insert into service_context values
    ('32260@3gpp.org', 101, 1, false, 0, 0),
    ('32276@3gpp.org', 101, 1, false, 0, 0),
    ('32251@3gpp.org',   0, 2, true,  0, 0),
    ('32274@3gpp.org',   0, 3, false, 0, 0);

-- meta has one row.
create table meta (
    one               boolean not null primary key default true check (one),
    system_identifier bigint,                     -- of the database cluster that holds the sessions
    origin_state_id   bigint,                     -- of the OCS; raised when sessions were lost
    tariff_version    bigint  not null default 0  -- raised by every change of the tariff
);
insert into meta default values;

-- start_counter gives a Diameter identity an Origin-State-Id that rises at each start.
create table start_counter (
    identity text   not null primary key check (identity <> ''),
    starts   bigint not null check (starts > 0)
);

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
