-- +goose Up

-- charging_kept is what a credit-control client would have to send if its process
-- ended now: reports without an answer, and the end of each session that runs
-- (diameter/gy writes it behind the calls). A process delivers what earlier ones
-- of the same client left.
create table charging_kept (
    client   text        not null check (client <> ''), -- Origin-Host of the client
    session  text        not null,                      -- Session-Id
    start    bigint      not null,                      -- Origin-State-Id of the process
    requests bytea[]     not null check (cardinality(requests) > 0), -- encoded, in the order of sending
    server   text        not null,                      -- Origin-Host that holds the session, '' any
    via      text        not null,
    failover boolean     not null,
    since    timestamptz not null,
    primary key (client, session)
) with (fillfactor = 70);

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
