-- +goose Up

-- A drop of journal months waits for whoever reads the journal, and all charging waits
-- behind it and gives up after two seconds. So the drop gives way first: when a dump or
-- an audit is under way it fails with 55P03 and drops nothing, and can be tried again. An
-- autovacuum gives way to it after deadlock_timeout, a second.
alter function journal_drop_before(timestamptz) set lock_timeout = '1500ms';

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
