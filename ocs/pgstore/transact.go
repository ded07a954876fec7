package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"gygate/ocs"
	"gygate/sql"
)

// errUnguarded: an account without a balance has no guard, and wants the lock.
var errUnguarded = errors.New("an account that is not there or has no balance")

// errBroken: a rule broke on what is known. A session that was loaded after its account
// may not go with it; under the locks it does, or the books are broken.
var errBroken = errors.New("a rule broke on what is known")

// transact carries out wants on what is known, or, when others have changed it of
// late, under the locks. Whatever way it is left but by a commit, and be it a panic
// of decide, nothing of it is stored or known.
func (l *lane) transact(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if !l.trust.next() {
		return l.underLock(ctx, want, decide)
	}
	err := l.onTrust(ctx, want, decide)
	switch {
	case err == nil:
		l.trust.confirmed()
		return nil
	case changed(err):
		l.trust.disappointed()
	case !stale(err) && !errors.Is(err, errUnguarded) && !errors.Is(err, errBroken):
		return err
	}
	return l.underLock(ctx, want, decide)
}

// onTrust decides on what is known, once the rest is loaded, and stores it in one
// round trip, which fails when something was not so any more.
func (l *lane) onTrust(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if err := l.connect(ctx); err != nil {
		return err
	}
	b := l.begin(want)
	began := time.Now()
	now, fresh := l.clock.now()
	rest := b.gather(now)
	defer l.leave(b)
	if !fresh || !rest.empty() || expires(want) {
		if err := l.load(ctx, rest, rest.read); err != nil {
			return err
		}
		if rest.missing() {
			return errUnguarded
		}
		now = l.clock.exact(rest.clock)
		b.take(rest)
	}
	if l.epoch.Load() != b.epoch { // a connection was made anew meanwhile
		return errNotSent
	}
	b.Now = now
	return l.finish(ctx, b, began, decide, onVersions)
}

// underLock locks and loads everything the wants name, decides, and stores and
// commits by a second round trip. The connection may have been lost with a store that
// was decided on trust.
func (l *lane) underLock(ctx context.Context, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
	if err := l.connect(ctx); err != nil {
		return err
	}
	b := l.begin(want)
	began := time.Now()
	all := newLoader()
	all.everything(want)
	defer l.leave(b)
	if err := l.load(ctx, all, all.lock); err != nil {
		return err
	}
	b.take(all)
	b.Now = l.clock.exact(all.clock)
	return l.finish(ctx, b, began, decide, onLocks)
}

// begin empties the lane's batch for other wants.
func (l *lane) begin(want []ocs.Want) *batch {
	l.batch.reset(want)
	l.batch.epoch = l.epoch.Load()
	return l.batch
}

// leave ends a transaction: one that was not committed, and be it for a panic, leaves
// nothing stored and nothing known.
func (l *lane) leave(b *batch) {
	if !b.committed {
		b.forget()
		l.abandon()
	}
}

// finish decides, stores, and keeps what came of it.
func (l *lane) finish(ctx context.Context, b *batch, began time.Time, decide func(*ocs.WorkingSet), how guarding) error {
	b.Timing.Began, b.Timing.Loaded = began, time.Now()
	decide(&b.WorkingSet)
	b.Timing.Decided = time.Now()
	switch {
	case b.Discarded && how == onVersions:
		return errBroken
	case b.Discarded:
		return nil // and not committed
	}
	if err := l.out.fill(b, how); err != nil {
		return err
	}
	l.hook(BeforeCommit)
	if err := l.store(ctx, how); err != nil {
		return err
	}
	b.committed = true
	b.keep()
	b.Timing.Committed = time.Now()
	l.hook(AfterCommit)
	return nil
}

// expires reports whether a step ends a session by the clock: it wants a reading
// that is not before the one by which the session was found to be over.
func expires(want []ocs.Want) bool {
	for i := range want {
		if want[i].Step.Type == ocs.Expire {
			return true
		}
	}
	return false
}

// inBinary: all parameters and results are in the binary format.
var inBinary = []int16{1}

// store sends what the outbox holds in one round trip and commits it; when it holds
// nothing, there is none. It is never cancelled: an interrupted commit may have
// happened. On locks the transaction began with them and ends with a COMMIT; else
// the statements up to the synchronisation point are one, which commits there.
func (l *lane) store(ctx context.Context, how guarding) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var sent []statement
	for _, s := range l.out.statements {
		if s.rows.count > 0 {
			sent = append(sent, s)
		}
	}
	if how == onLocks {
		sent = append(sent, statement{sql: commitTransaction})
	}
	if len(sent) == 0 {
		return nil
	}
	if l.conn == nil || l.conn.IsClosed() { // another connection would be another transaction, or another server
		return errNotSent
	}
	l.warned = nil
	err := l.pipe(ctx, sent, how)
	switch {
	case err != nil:
		return err
	case l.warned != nil:
		return fmt.Errorf("commit: %w: %w", ocs.ErrOutcomeUnknown, l.warned)
	}
	return nil
}

// pipe sends statements and a synchronisation point, and reads what they say.
func (l *lane) pipe(ctx context.Context, sent []statement, how guarding) error {
	pipeline := l.conn.PgConn().StartPipeline(ctx)
	for _, s := range sent {
		prepared := l.prepared[s.sql]
		var parameters [][]byte
		if s.rows != nil {
			parameters = s.rows.parameters(prepared)
		}
		pipeline.SendQueryStatement(prepared, parameters, inBinary, inBinary)
	}
	err := pipeline.Sync()
	// Without locks it is the synchronisation point that commits, and what could not
	// be written whole did not reach it.
	if err != nil && how == onVersions {
		err = fmt.Errorf("%w: %w", errNotSent, err)
	}
	for _, s := range sent {
		if err != nil {
			break
		}
		err = l.result(pipeline, s)
	}
	if closeErr := pipeline.Close(); err == nil {
		err = closeErr // the commit's own failure shows here
	}
	if err != nil && !errors.Is(err, ocs.ErrOutcomeUnknown) {
		return commitFailure(err)
	}
	return err
}

// result reads what one statement says. Fewer rows than were sent were changed by
// somebody who deletes what is never deleted.
func (l *lane) result(pipeline *pgconn.Pipeline, s statement) error {
	answer, err := pipeline.GetResults()
	if err != nil {
		return err
	}
	reader, ok := answer.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("the server answered a statement with %T: %w", answer, errInvariant)
	}
	tag, err := reader.Close()
	switch {
	case err != nil:
		return err
	case s.rows == nil && tag.String() != "COMMIT":
		return fmt.Errorf("the server answered COMMIT with %q: %w", tag, errRolledBack)
	case s.rows != nil && s.sql != sql.InsertOrphans && tag.RowsAffected() != int64(s.rows.count):
		return fmt.Errorf("%d rows stored of %d: %w: %w", tag.RowsAffected(), s.rows.count, ocs.ErrOutcomeUnknown, errInvariant)
	}
	return nil
}

// commitFailure tells a transaction that was surely not committed from one that
// may have been.
func commitFailure(err error) error {
	if surelyNotCommitted(err) {
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("commit: %w: %w", ocs.ErrOutcomeUnknown, err)
}
