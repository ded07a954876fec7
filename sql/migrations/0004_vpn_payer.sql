-- +goose Up

-- Who pays for the calls of a group's members, and what a call record says of it
-- and of the party that was connected at last. Each column has a constant default,
-- which rewrites nothing: a table of many call records is locked for an instant.

-- member: the calling line, if it has the prepaid service; group: the account whose
-- identity of kind PRIVATE is the group's id, for every member.
alter table vpn_group add column payer text not null default 'member' check (payer in ('member', 'group'));

alter table call_record
    add column connected text not null default '', -- who was connected at last, '' the called party
    add column payer     text not null default ''; -- whose account was asked about, '' none

-- +goose Down
-- +goose StatementBegin
do $$ begin
    raise exception 'the schema of gygate goes forward only; restore a backup to go back';
end $$;
-- +goose StatementEnd
