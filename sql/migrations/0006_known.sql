-- +goose Up

-- A lane of the engine keeps what it knows of accounts and their sessions, and
-- stores without loading first. What keeps that right is the version of a balance:
-- a store names the versions it was decided on, and fails as a whole when one of
-- them is not in the table any more.
--
-- Rules that hold everywhere, beside those of 0001:
-- * The guard of an account is its first balance (the lowest id). Whoever changes
--   anything under an account (balances, sessions, outcomes, debits) raises the
--   guard's version in the same transaction, and that of each balance it changes. An
--   account without a balance has no guard: it is locked and loaded each time.
-- * Locks are taken on account rows first, then on balance rows, each in key order.
--   A store that names versions takes them by its updates, the others beforehand.
-- * Balances are never deleted, and identities never move to another account.

alter table balance add column version bigint not null default 0;

-- An account that is changed by hand is noticed, too. The engine changes nothing of
-- it but the debt, for which no trigger is called.
-- +goose StatementBegin
create function account_changed() returns trigger language plpgsql as $$
begin
    update balance set version = version + 1 where bucket = new.bucket and account = new.id;
    return null;
end $$;
-- +goose StatementEnd
create trigger account_changed
    after update of currency, class, closed_at, lost_since, lost_by, lost_reason,
                    blocked_since, blocked_by, blocked_reason, valid_from, valid_until, threshold, zone
    on account for each row execute function account_changed();

-- (A trigger on balances took a fifth of the throughput: stores compare amount and
-- frozen, beside the version, with what they knew.)

-- The freezes of a session stand in its targets (format 3 of ocs/pgstore: a row less
-- for each grant): the octet 3, a count in 2 octets, for each freeze the length of
-- the target's name in 2 octets, the name, the balance and the amount in 8 octets
-- each, all in network order; then the targets as before.
update session s set targets = '\x03'::bytea || substring(int4send(f.n::integer) from 3) || f.packed || s.targets
from (select bucket, session, sub, count(*) n,
             string_agg(substring(int4send(octet_length(target)) from 3) || convert_to(target, 'UTF8') || int8send(balance) || int8send(amount),
                        ''::bytea order by target, balance) packed
      from session_freeze group by bucket, session, sub) f
where s.bucket = f.bucket and s.key = f.session and s.sub = f.sub;

-- An older gygate that still runs finds its table gone, and answers "unavailable"
-- from now on: it would not raise the versions.
drop table session_freeze;

-- +goose StatementBegin
create function freezes_of(targets bytea) returns table (target text, balance bigint, amount bigint)
    language plpgsql immutable strict as $$
declare
    at     integer := 3;
    length integer;
begin
    for i in 1 .. get_byte(targets, 1) * 256 + get_byte(targets, 2) loop
        exit when at + 18 > octet_length(targets); -- broken: whoever decodes it all says so
        length  := get_byte(targets, at) * 256 + get_byte(targets, at + 1);
        exit when at + 18 + length > octet_length(targets);
        target  := convert_from(substring(targets from at + 3 for length), 'UTF8');
        balance := ('x' || encode(substring(targets from at + 3 + length for 8), 'hex'))::bit(64)::bigint;
        amount  := ('x' || encode(substring(targets from at + 11 + length for 8), 'hex'))::bit(64)::bigint;
        at := at + 18 + length;
        return next;
    end loop;
end $$;
-- +goose StatementEnd

-- session_freezes shows what is set aside, for people and audits.
create view session_freezes as
select s.bucket, s.key as session, s.sub, f.target, f.balance, f.amount
from session s cross join lateral freezes_of(s.targets) f
where substring(s.targets for 1) = '\x03' and substring(s.targets from 2 for 2) <> '\x0000';

-- One index serves both the look-up by key alone and by the whole key: a session is
-- then one index entry less to insert.
alter table session drop constraint session_pkey, add primary key (key, sub, bucket);
drop index session_key;

-- The journal is written a hundred thousand times for each time it is looked at. A
-- B-tree by account was two thirds of the cost of a row; this one costs an insert
-- nothing: maintenance sums up, for each half a megabyte that is full, the times and
-- the accounts (a Bloom filter) that occur in it, and a look-up reads what may match.
alter table journal drop constraint journal_pkey;
create index journal_account on journal using brin (at, account int8_bloom_ops (n_distinct_per_range = 2500))
    with (pages_per_range = 64, autosummarize = on);

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
