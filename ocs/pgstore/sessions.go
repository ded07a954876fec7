package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// SessionsMax bounds the sessions one call lists.
const SessionsMax = 10_000

// SessionFilter selects sessions.
type SessionFilter struct {
	Identity string // of one account only
	Closed   bool   // those closed and still kept, too
	Limit    int    // 0 and more than SessionsMax: SessionsMax
}

// SessionInfo is a session as an operator sees it.
type SessionInfo struct {
	SessionID  string       `json:"session_id"`
	SubSession uint64       `json:"sub_session,omitempty"`
	Account    int64        `json:"account"`
	Service    string       `json:"service"`
	Client     string       `json:"client"` // Origin-Host
	Relay      string       `json:"relay,omitempty"`
	OpenedAt   time.Time    `json:"opened_at"`
	Deadline   time.Time    `json:"deadline"`
	ClosedAt   *time.Time   `json:"closed_at,omitempty"`
	Targets    []TargetInfo `json:"targets"`
	Frozen     ocs.Money    `json:"frozen"`  // money
	Charged    ocs.Money    `json:"charged"` // money, so far
	// Orphaned: the client has restarted since it last reported (RFC 6733 §8.6).
	Orphaned bool `json:"orphaned,omitempty"`
	// Notice is why the client is being asked to come back or to end the session,
	// and how far that is: "credit waiting", "barred sent"; "" when it is not.
	Notice string `json:"notice,omitempty"`
}

// TargetInfo is one service inside a session.
type TargetInfo struct {
	Target      string    `json:"target"`
	RatingGroup uint32    `json:"rating_group"`
	Called      string    `json:"called,omitempty"`
	Rate        string    `json:"rate,omitempty"`
	Unit        string    `json:"unit"`
	Used        int64     `json:"used"`
	Granted     int64     `json:"granted"`
	Charged     ocs.Money `json:"charged"`
}

// Sessions lists sessions, the oldest first.
func (a *Admin) Sessions(ctx context.Context, f SessionFilter) ([]SessionInfo, error) {
	if f.Limit <= 0 || f.Limit > SessionsMax {
		f.Limit = SessionsMax
	}
	where, args := "($1 or s.closed_at is null)", []any{f.Closed, f.Limit}
	if f.Identity != "" {
		key, err := a.find(ctx, f.Identity)
		if err != nil {
			return nil, err
		}
		where, args = where+" and s.bucket = $3 and s.account = $4", append(args, key.Bucket, key.ID)
	}
	sessions, err := readSessions(ctx, a.pool, where+" order by s.opened_at limit $2", args...)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return sessions, nil
}

// queryer is a pool or transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readSessions(ctx context.Context, q queryer, where string, args ...any) ([]SessionInfo, error) {
	rows, err := q.Query(ctx, `
		select s.session_id, s.sub, s.account, s.service, s.client_host, s.client_relay, s.opened_at, s.deadline, s.closed_at, s.targets,
		       coalesce((select sum(f.amount)::bigint from session_freezes f
		                 join balance b on b.bucket = f.bucket and b.account = s.account and b.id = f.balance and b.unit = 4
		                 where f.bucket = s.bucket and f.session = s.key and f.sub = s.sub), 0),
		       s.closed_at is null and s.client_state <> 0 and s.client_state < coalesce(c.state, 0), coalesce(n.reason, 0), coalesce(n.stage, 'done')
		from session s
		left join client_state c on c.host = lower(s.client_host)
		left join notice n on n.bucket = s.bucket and n.session = s.key and n.sub = s.sub
		where `+where, args...)
	if err != nil {
		return nil, err
	}
	sessions, err := pgx.CollectRows(rows, scanSessionInfo)
	if sessions == nil {
		sessions = []SessionInfo{} // an empty JSON array
	}
	return sessions, err
}

func scanSessionInfo(row pgx.CollectableRow) (SessionInfo, error) {
	var s SessionInfo
	var sub int64
	var encoded []byte
	var reason ocs.NoticeReason
	var stage string
	err := row.Scan(&s.SessionID, &sub, &s.Account, &s.Service, &s.Client, &s.Relay, &s.OpenedAt, &s.Deadline, &s.ClosedAt, &encoded, &s.Frozen,
		&s.Orphaned, &reason, &stage)
	if err != nil {
		return s, err
	}
	if stage != stageDone {
		s.Notice = reason.String() + " " + stage
	}
	s.SubSession, s.Targets = uint64(sub), []TargetInfo{}
	targets, err := decodeTargets(encoded)
	for _, t := range targets {
		s.Charged += t.Charged
		s.Targets = append(s.Targets, TargetInfo{
			Target: string(t.Target), RatingGroup: t.RatingGroup, Called: t.Called, Rate: t.Rate,
			Unit: t.Unit.String(), Used: t.Used, Granted: t.Granted, Charged: t.Charged,
		})
	}
	return s, err
}

// CloseSession has a session and its sub-sessions ended (endSessions), and their
// client told. ErrNoSession when none is open.
func (a *Admin) CloseSession(ctx context.Context, sessionID string) error {
	session := ocs.KeyOf(sessionID)
	var key ocs.AccountKey
	err := a.pool.QueryRow(ctx, "select bucket, account from session where key = $1 and closed_at is null limit 1", [16]byte(session)).Scan(&key.Bucket, &key.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %s", ErrNoSession, sessionID)
	}
	if err != nil {
		return fmt.Errorf("close session: %w", err)
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		now, err := lockAccount(ctx, tx, key)
		if err != nil {
			return err
		}
		ended, err := closeSession(ctx, tx, key, session, now)
		if err == nil && ended == 0 {
			err = fmt.Errorf("%w: %s", ErrNoSession, sessionID)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

// closeSession runs under the account's lock and returns how many it has ended.
func closeSession(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, session ocs.SessionKey, now time.Time) (int64, error) {
	open, err := openSessions(ctx, tx, key)
	if err != nil {
		return 0, err
	}
	var refs []ocs.SessionRef
	for _, s := range open {
		if s.ref.Key == session {
			refs = append(refs, s.ref)
		}
	}
	ended, err := endSessions(ctx, tx, key, refs, now)
	if err != nil {
		return ended, err
	}
	return ended, raise(ctx, tx, key, ocs.NoticeEnd, refs, nil, now)
}
