-- +goose Up

-- Requests of the server to its clients (Re-Auth-Request, Abort-Session-Request),
-- what is known of restarted clients, and the options of services. Every change of
-- an existing table here adds a column with a constant default, which rewrites
-- nothing: a big database is locked for an instant only.

-- notice asks the client of an open session to come back at once, or to end it.
-- Whoever changes something a client should hear of raises it in the same
-- transaction; a session has at most one, further reasons raise it again. It lies
-- outside the charging: no step reads or writes it.
--
-- Stages: waiting to be sent from due on; sent and not answered, a lease up to due;
-- promised, the client said that it will report; ending, the session is ended at
-- due; done, kept up to due so that the next sending keeps its distance.
create table notice (
    bucket       smallint    not null,
    session      uuid        not null,
    sub          bigint      not null,
    reason       smallint    not null check (reason between 1 and 4), -- tariff, credit, barred, end
    rating_group bigint      check (rating_group between 0 and 4294967295), -- null: the whole session
    raised       bigint      not null default 1, -- how often
    raised_at    timestamptz not null,           -- the last time
    -- What the session had served when the notice was last raised or sent. When that
    -- has changed the client has come since, and knows.
    served_top   bigint      not null,
    served_bits  bigint      not null,
    stage        text        not null default 'waiting' check (stage in ('waiting', 'sent', 'promised', 'ending', 'done')),
    due          timestamptz not null,
    claimed      bigint      not null default 0, -- raised, at the last sending
    attempt      smallint    not null default 0, -- sendings since then
    sent_at      timestamptz,
    end_to_end   bigint      not null default 0, -- of the undelivered sending the next one repeats
    primary key (bucket, session, sub)
);
create index notice_due on notice (due);

-- client_state is the highest Origin-State-Id seen of each client. Its open
-- sessions of a lower one (0 aside) are orphans: that is a comparison, not a mark,
-- so sessions of the new state are never touched.
create table client_state (
    host  text        not null primary key check (host <> ''), -- Origin-Host in lower case
    state bigint      not null check (state between 1 and 4294967295),
    since timestamptz not null,
    swept boolean     not null default false -- no orphans are left
);

alter table service_context add column options jsonb not null default '{}'; -- ocs.ServiceOptions

-- A repeat whose content differs from the request it repeats is answered like one
-- that does not; what it reports is charged nowhere and kept here.
alter table orphan_usage add column mismatch boolean not null default false;

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
