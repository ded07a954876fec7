-- +goose Up

-- A Session-Id (with its sub-session) is one session, whoever pays. The key alone
-- proves it, without a look-up before the insert; until now two nodes that were given
-- one Session-Id for two accounts at the same instant began two sessions.
-- +goose StatementBegin
do $$
declare twice text;
begin
    select session_id into twice from session where closed_at is null group by key, sub, session_id having count(*) > 1 limit 1;
    if found then
        raise exception 'two accounts have an open session of the name %', twice
            using hint = 'wait until its supervision time has ended it, with the gygate of before, and migrate again';
    end if;
end $$;
-- +goose StatementEnd

-- Of several, those that are over are kept for repeats only: the last one stays.
delete from session s using session o
where o.key = s.key and o.sub = s.sub and o.bucket <> s.bucket and s.closed_at is not null
  and (o.closed_at is null or (o.opened_at, o.bucket) > (s.opened_at, s.bucket));

alter table session drop constraint session_pkey, add primary key (key, sub);

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
