-- +goose Up

-- The virtual private networks: groups, members, lists, and the call records.
--
-- The directory is read as a whole into a snapshot. Whoever changes any of its
-- tables raises vpn_directory.version and notifies gygate_vpn_directory in the
-- same transaction; there are no triggers.

create table vpn_directory (
    one     boolean primary key default true check (one),
    version bigint  not null
);
insert into vpn_directory (version) values (1);

create table vpn_group (
    id              text primary key check (id <> ''),
    name            text     not null default '',
    customer        text     not null default '', -- groups of one customer reach each other by site code
    site_code       text     not null default '',
    country_code    text     not null,
    area_code       text     not null default '', -- completes local numbers
    escape_code     text     not null default '', -- dialled before a public number
    short_digits    smallint not null default 0 check (short_digits >= 0),
    escape_required boolean  not null default false,
    forced_on_net   boolean  not null default false,
    exclusions      text[]   not null default '{}', -- prefixes never forced on-net
    time_zone       text     not null default ''
);
create unique index vpn_group_site on vpn_group (customer, site_code) where customer <> '' and site_code <> '';

-- profile is a class of service shared by members of a group.
create table profile (
    group_id          text    not null references vpn_group on delete cascade,
    name              text    not null check (name <> ''),
    bar_outgoing      boolean not null default false,
    bar_off_net       boolean not null default false,
    bar_international boolean not null default false,
    bar_incoming      boolean not null default false,
    primary key (group_id, name)
);

create table member (
    number            text    primary key check (number ~ '^[1-9][0-9]{4,14}$'), -- E.164 without '+'
    group_id          text    not null references vpn_group,
    short_number      text    check (short_number ~ '^[0-9]{1,10}$'),
    display           text    not null default '',
    prepaid           boolean not null default false, -- the line also has the prepaid service
    profile           text,
    bar_outgoing      boolean not null default false,
    bar_off_net       boolean not null default false,
    bar_international boolean not null default false,
    bar_incoming      boolean not null default false,
    unique (group_id, short_number),
    foreign key (group_id, profile) references profile (group_id, name)
);

-- access_rule is one entry of an allow or deny list, of a group, one of its
-- profiles or a member.
create table access_rule (
    id       bigint   generated always as identity primary key,
    group_id text     not null references vpn_group on delete cascade,
    profile  text,
    member   text     references member on delete cascade,
    allow    boolean  not null,
    incoming boolean  not null default false, -- screens who calls the member
    class    text     not null default '' check (class in ('', 'on-net', 'forced on-net', 'off-net', 'international')),
    prefix   text     not null default '' check (prefix ~ '^[0-9]*$'), -- of the E.164 number, or the first of a range
    last     text     not null default '' check (last ~ '^[0-9]*$'),
    days     smallint not null default 0 check (days between 0 and 127), -- bit 0 is Sunday; 0: every day
    from_s   integer  not null default 0 check (from_s between 0 and 86399), -- seconds since midnight
    to_s     integer  not null default 0 check (to_s between 0 and 86400),   -- exclusive; from = to: the whole day
    check (profile is null or member is null),
    check (last = '' or (length(last) = length(prefix) and last >= prefix)),
    foreign key (group_id, profile) references profile (group_id, name) on delete cascade
);
create index access_rule_group on access_rule (group_id);
create index access_rule_member on access_rule (member) where member is not null;

create table emergency_number (
    number text primary key check (number ~ '^[0-9]{1,10}$')
);
-- The two numbers a telephone takes for an emergency anywhere (3GPP TS 22.101
-- §10.1.1); the country's own come from the operator.
insert into emergency_number (number) values ('112'), ('911');

-- call_record is the one record of each call attempt. Times are those of the
-- gateway; talked is in milliseconds, reported in seconds.
create table call_record (
    id          text        primary key,
    call_id     text        not null,
    icid        text        not null,
    session     text        not null, -- Session-Id, '' when not charged
    group_id    text        not null,
    member      text        not null,
    calling     text        not null,
    dialled     text        not null,
    called      text        not null,
    class       text        not null,
    charging    text        not null,
    setup_at    timestamptz not null,
    answered_at timestamptz,
    released_at timestamptz not null,
    talked_ms   bigint      not null check (talked_ms >= 0),
    reported_s  bigint      not null check (reported_s >= 0),
    cost        text        not null, -- decimal as Cost-Information said it
    currency    bigint      not null, -- ISO 4217 number, 0 none
    cause       integer     not null, -- Q.850
    status      integer     not null, -- SIP status towards the caller
    reason      text        not null,
    released_by text        not null,
    trace_id    text        not null
);
create index call_record_time on call_record (setup_at);
create index call_record_session on call_record (session) where session <> '';
create index call_record_call on call_record (call_id);
