package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
	"gygate/sql"
)

// tariffSettles is how long after a change of the tariff the clients are asked to
// come back: by then every node has read it, with a poll of 5 s by default.
const tariffSettles = 15 * time.Second

// accountSession is a session of an account that something has changed for.
type accountSession struct {
	ref     ocs.SessionRef
	targets []byte
	askable bool // it has a client to ask, which is not ending it already
}

// openSessions lists the open sessions of an account, under its lock.
func openSessions(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) ([]accountSession, error) {
	rows, err := tx.Query(ctx, sql.OpenSessions, key.Bucket, key.ID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s accountSession, err error) {
		var session [16]byte
		var sub int64
		err = row.Scan(&session, &sub, &s.targets, &s.askable)
		s.ref = ocs.SessionRef{Key: session, Sub: uint64(sub)}
		return s, err
	})
}

// raiseCredit asks the clients of an account's open sessions to come for what they
// may have now. One of whose groups only one starves is asked for that group.
func raiseCredit(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, now time.Time) error {
	sessions, err := openSessions(ctx, tx, key)
	if err != nil {
		return err
	}
	var refs []ocs.SessionRef
	var groups []*int64
	for _, s := range sessions {
		if !s.askable {
			continue
		}
		targets, err := decodeTargets(s.targets)
		if err != nil {
			return err
		}
		refs, groups = append(refs, s.ref), append(groups, starved(targets))
	}
	return raise(ctx, tx, key, ocs.NoticeCredit, refs, groups, now)
}

// starved is the rating group of the one target, among several, that has no grant
// to use or a final one (conformance B-191); nil: the whole session.
func starved(targets []*ocs.TargetState) *int64 {
	var one *int64
	for _, t := range targets {
		if t.Granted > 0 && !t.Final {
			continue
		}
		if one != nil {
			return nil
		}
		group := int64(t.RatingGroup)
		one = &group
	}
	if len(targets) < 2 {
		return nil
	}
	return one
}

// raiseBarred tells the clients of an account's open sessions that it is barred;
// when it is closed for good (end), the sessions are ended, too.
func raiseBarred(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, end bool, now time.Time) error {
	sessions, err := openSessions(ctx, tx, key)
	if err != nil {
		return err
	}
	var all, asked []ocs.SessionRef
	for _, s := range sessions {
		if all = append(all, s.ref); s.askable {
			asked = append(asked, s.ref)
		}
	}
	if end {
		if _, err := endSessions(ctx, tx, key, all, now); err != nil {
			return err
		}
	}
	return raise(ctx, tx, key, ocs.NoticeBarred, asked, nil, now)
}

// raise stores the notices of one account and tells the listening nodes. groups,
// when set, is as long as refs.
func raise(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, reason ocs.NoticeReason, refs []ocs.SessionRef, groups []*int64, now time.Time) error {
	if len(refs) == 0 {
		return nil
	}
	if groups == nil {
		groups = make([]*int64, len(refs))
	}
	keys, subs := refColumns(refs)
	batch := &pgx.Batch{}
	batch.Queue(sql.RaiseNotices, key.Bucket, keys, subs, groups, int16(reason), now)
	batch.Queue(sql.NotifyNotices)
	return tx.SendBatch(ctx, batch).Close()
}

// raiseTariff asks the clients of all open sessions of services to come back;
// nil: of every service.
func raiseTariff(ctx context.Context, tx pgx.Tx, services []string) error {
	_, err := tx.Exec(ctx, sql.RaiseTariff, services, tariffSettles.Seconds())
	return err
}

// closedLate is how long after the order to close it a session's final report is
// still debited, as after a refused one (ocs.Policy.LateTerminate).
const closedLate = time.Minute

// endSessions has sessions of an account ended, under its lock: their supervision
// is over as of now and not renewed any more, so that the next sweep of any engine
// gives their freezes back and closes them, exactly once. It returns how many were
// open.
func endSessions(ctx context.Context, tx pgx.Tx, key ocs.AccountKey, refs []ocs.SessionRef, now time.Time) (int64, error) {
	keys, subs := refColumns(refs)
	tag, err := tx.Exec(ctx, sql.EndSessions, key.Bucket, key.ID, keys, subs, now, now.Add(closedLate))
	return tag.RowsAffected(), err
}
