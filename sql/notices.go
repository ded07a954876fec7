package sql

import "fmt"

// The statements of the notices, which ask clients to come back. None of them is
// part of a charging transaction.

// noticePause is the least time between two sendings to one session: reasons that
// follow each other within it are one (conformance B-196).
const noticePause = "interval '1 second'"

// noticeRelayed is how long a notice waits for the node that is connected to the
// client or its last relay, before any node sends it through any relay.
const noticeRelayed = "interval '3 seconds'"

// raiseAgain merges a reason into a notice that is there (n) already. The client
// has come when the session has served a request since; then the earlier reason is
// dealt with. A request under way, or a report promised and not yet seen, covers
// the new reason, unless that one is stronger. Credit lifts a bar that still waits.
const raiseAgain = `
on conflict (bucket, session, sub) do update set
  reason = case when ` + clientCame + ` or (excluded.reason = 2 and n.reason = 3) then excluded.reason
           else greatest(n.reason, excluded.reason) end,
  rating_group = case when ` + clientCame + ` or n.rating_group = excluded.rating_group then excluded.rating_group end,
  raised = n.raised + 1, raised_at = excluded.raised_at,
  served_top = excluded.served_top, served_bits = excluded.served_bits,
  stage = case when ` + raiseCovered + ` then n.stage else 'waiting' end,
  due = case when ` + raiseCovered + ` then n.due
        else greatest(case when n.stage = 'waiting' then least(n.due, excluded.due) else excluded.due end,
                      n.sent_at + ` + noticePause + `) end`

const (
	clientCame   = `(n.served_top, n.served_bits) is distinct from (excluded.served_top, excluded.served_bits)`
	raiseCovered = `(n.stage = 'sent' or (n.stage in ('promised', 'ending') and excluded.reason <= n.reason and not (` + clientCame + `)))`
)

const (
	// OpenSessions lists the open sessions of an account ($1 bucket, $2 id), and
	// whether there is a client to ask that is not ending the session already.
	OpenSessions = `
select s.key, s.sub, s.targets, ` + askable + ` from session s
where s.bucket = $1 and s.account = $2 and s.closed_at is null`

	askable = `s.late_until is null and s.client_host <> ''`

	// RaiseNotices raises notices for sessions under one account, whose lock the
	// caller holds ($1 bucket, $2 keys, $3 sub-sessions, $4 rating groups, $5
	// reason, $6 the time).
	RaiseNotices = `
insert into notice as n (bucket, session, sub, reason, rating_group, raised_at, due, served_top, served_bits)
select s.bucket, s.key, s.sub, $5, ($4::bigint[])[k], $6::timestamptz, $6::timestamptz, s.served_top, s.served_bits
from generate_subscripts($2::uuid[], 1) k
join session s on s.bucket = $1 and s.key = ($2::uuid[])[k] and s.sub = ($3::bigint[])[k]
where s.client_host <> ''
order by s.bucket, s.key, s.sub` + raiseAgain

	// RaiseTariff raises notices for all open sessions of services ($1, null: all),
	// to be sent after $2 seconds, when every node has read the new tariff.
	RaiseTariff = `
insert into notice as n (bucket, session, sub, reason, raised_at, due, served_top, served_bits)
select s.bucket, s.key, s.sub, 1, now(), now() + make_interval(secs => $2), s.served_top, s.served_bits
from session s
where s.closed_at is null and ($1::text[] is null or s.service = any ($1)) and ` + askable + `
order by s.bucket, s.key, s.sub` + raiseAgain

	// NotifyNotices tells listening nodes, when the transaction commits, that a
	// notice was raised. It is a hint: one that is lost is found by the next poll.
	NotifyNotices = `select pg_notify('` + NoticeChannel + `', '')`

	// NoticeChannel is where NotifyNotices is heard.
	NoticeChannel = "gygate_notice"
)

// noticeAttempt is the number of the sending that would follow.
const noticeAttempt = `case when n.raised > n.claimed then 1 else n.attempt + 1 end`

// noticeOver reports that nothing is to be sent any more: the session is gone; the
// client has come (a new tariff that waits to be sent it cannot know); the session
// is over and not even its late report is waited for; or all was tried.
var noticeOver = fmt.Sprintf(`(s.key is null or n.stage = 'done'
   or ((n.served_top, n.served_bits) is distinct from (s.served_top, s.served_bits) and not (n.reason = 1 and n.raised > n.claimed))
   or (s.closed_at is not null and (n.stage in ('promised', 'ending') or s.late_until is null or s.late_until <= now()))
   or (n.stage <> 'ending' and (%s > $5 or n.raised_at + make_interval(secs => $6) <= now())))`, noticeAttempt)

// ClaimNotices takes up to $3 due notices for the caller alone, for $4 seconds:
// those whose client or last relay is among $1 (in lower case), with $2 also those
// that nobody took. $5 is how often one raise is sent, $6 how many seconds it is
// kept. What is over is deleted on the way, by whoever comes past, but not before
// the next sending may follow.
var ClaimNotices = fmt.Sprintf(`
with due as materialized (
  select n.bucket, n.session, n.sub, s.account, s.session_id, s.service, s.client_host, s.client_realm, s.client_relay, s.client_state,
         s.served_top, s.served_bits, %[1]s as attempt, %[2]s as over
  from notice n left join session s on s.bucket = n.bucket and s.key = n.session and s.sub = n.sub
  where n.due <= now() and (%[2]s or (n.stage <> 'ending' and (
        lower(s.client_host) = any ($1::text[]) or lower(s.client_relay) = any ($1::text[]) or ($2::boolean and n.due <= now() - %[3]s))))
  order by n.due limit $3
  for update of n skip locked),
gone as (
  delete from notice n using due d
  where d.over and n.bucket = d.bucket and n.session = d.session and n.sub = d.sub and coalesce(n.sent_at + %[4]s <= now(), true)),
sent as (
  update notice n set stage = 'sent', due = now() + make_interval(secs => $4), sent_at = now(), claimed = n.raised, attempt = d.attempt,
         served_top = d.served_top, served_bits = d.served_bits
  from due d where not d.over and n.bucket = d.bucket and n.session = d.session and n.sub = d.sub
  returning n.bucket, n.session, n.sub, n.reason, n.rating_group, n.raised, case when n.attempt > 1 then n.end_to_end else 0 end as end_to_end)
select d.session, d.sub, d.bucket, d.account, d.session_id, d.service, d.client_host, d.client_realm, d.client_relay, d.client_state,
       sent.reason, sent.rating_group, d.attempt, sent.end_to_end, sent.raised
from sent join due d using (bucket, session, sub)`, noticeAttempt, noticeOver, noticeRelayed, noticePause)

const (
	// SettleNotice records what came of a sending ($1 to $3 key, $4 raised, $5
	// attempt): the stage $6 for $7 seconds, with the End-to-End $8 that the next
	// sending repeats. A reason raised meanwhile is sent, unless the session ends.
	SettleNotice = `
update notice set
  stage = case when ` + raisedMeanwhile + ` then 'waiting' else $6 end,
  due = case when ` + raisedMeanwhile + ` or $6 = 'done' then greatest(now(), sent_at + ` + noticePause + `)
        else now() + make_interval(secs => $7) end,
  end_to_end = case when ` + raisedMeanwhile + ` then 0 else $8::bigint end
where bucket = $1 and session = $2 and sub = $3 and stage = 'sent' and claimed = $4 and attempt = $5`

	raisedMeanwhile = `(raised > claimed and $6::text <> 'ending')`

	// RipeEndings lists up to $1 sessions that are to be ended now.
	RipeEndings = `
select n.session, n.sub, s.bucket, s.account ` + ripe + ` limit $1`

	// TakeEnding deletes such a notice ($1 bucket, $2 key, $3 sub-session), under
	// the account's lock: one row when the session is still to be ended.
	TakeEnding = `
delete from notice where (bucket, session, sub) in (select n.bucket, n.session, n.sub ` + ripe + ` and n.bucket = $1 and n.session = $2 and n.sub = $3)`

	ripe = `
from notice n join session s on s.bucket = n.bucket and s.key = n.session and s.sub = n.sub
where n.stage = 'ending' and n.due <= now() and s.closed_at is null
  and (n.served_top, n.served_bits) is not distinct from (s.served_top, s.served_bits)`

	// EndSessions has the open ones among sessions of an account ($1 bucket, $2
	// account, $3 keys, $4 sub-sessions) ended: their supervision is over as of
	// $5 and not renewed, and up to $6 one final report is still debited.
	EndSessions = `
update session s set deadline = least(s.deadline, $5), due = least(s.due, date_trunc('minute', $5::timestamptz)), late_until = $6
from generate_subscripts($3::uuid[], 1) k
where s.bucket = $1 and s.account = $2 and s.key = ($3::uuid[])[k] and s.sub = ($4::bigint[])[k] and s.closed_at is null`
)
