package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/sql"
)

const (
	// endingsMax bounds the sessions one Claim has ended; the next takes the rest.
	endingsMax = 64
	// listenAgain is the time before a lost listening connection is made anew;
	// until then the poll finds what is raised.
	listenAgain = 2 * time.Second
)

// Notices implements ocs.Notices on the table notice. Any number of nodes may work
// on it; the database's clock dates everything.
type Notices struct {
	pool   *pgxpool.Pool
	logger *slog.Logger
}

var _ ocs.Notices = (*Notices)(nil)

// OpenNotices works on a pool, which stays the caller's, and checks the schema's
// version (sql.ErrVersion). A nil logger logs nothing.
func OpenNotices(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (*Notices, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := sql.CheckVersion(ctx, pool); err != nil {
		return nil, fmt.Errorf("notices: %w", err)
	}
	return &Notices{pool: pool, logger: logger}, nil
}

// Claim implements ocs.Notices. It also has those sessions ended whose client has
// lost them, or promised to end them and did not.
func (n *Notices) Claim(ctx context.Context, hosts []string, relays bool, limit int) ([]ocs.Notice, error) {
	if err := n.endRipe(ctx); err != nil {
		return nil, fmt.Errorf("notices: end sessions: %w", err)
	}
	if hosts == nil {
		hosts = []string{}
	}
	rows, err := n.pool.Query(ctx, sql.ClaimNotices, hosts, relays, limit,
		ocs.NoticeLease.Seconds(), ocs.NoticeAttempts, ocs.NoticeLife.Seconds())
	if err != nil {
		return nil, fmt.Errorf("notices: claim: %w", err)
	}
	claimed, err := pgx.CollectRows(rows, scanNotice)
	if err != nil {
		return nil, fmt.Errorf("notices: claim: %w", err)
	}
	return claimed, nil
}

func scanNotice(row pgx.CollectableRow) (n ocs.Notice, err error) {
	var key [16]byte
	var sub int64
	err = row.Scan(&key, &sub, &n.Account.Bucket, &n.Account.ID, &n.SessionID, &n.Service,
		&n.Client.Host, &n.Client.Realm, &n.Client.Relay, &n.Client.State,
		&n.Reason, &n.RatingGroup, &n.Attempt, &n.EndToEnd, &n.Raised)
	n.Session, n.SubID = key, uint64(sub)
	return n, err
}

// The stages a sending leads to (see the migration).
const (
	stageWaiting  = "waiting"
	stagePromised = "promised"
	stageEnding   = "ending"
	stageDone     = "done"
)

// Settle implements ocs.Notices. When the lease was lost meanwhile, what another
// node makes of the notice counts.
func (n *Notices) Settle(ctx context.Context, notice ocs.Notice, r ocs.NoticeResult, endToEnd uint32) error {
	stage, after := settled(notice, r)
	if stage != stageWaiting {
		endToEnd = 0 // a later sending is a new request
	}
	_, err := n.pool.Exec(ctx, sql.SettleNotice, notice.Account.Bucket, [16]byte(notice.Session), int64(notice.SubID),
		notice.Raised, notice.Attempt, stage, after.Seconds(), int64(endToEnd))
	if err != nil {
		return fmt.Errorf("notices: settle: %w", err)
	}
	return nil
}

// settled is what follows a sending (conformance B-192 to B-194, B-199).
func settled(n ocs.Notice, r ocs.NoticeResult) (stage string, after time.Duration) {
	abort := n.Abort || n.Reason == ocs.NoticeEnd
	switch {
	case r == ocs.NoticeUnknown:
		return stageEnding, ocs.NoticeGrace
	case r == ocs.NoticeExpected && abort:
		return stageEnding, ocs.NoticeWait
	case r == ocs.NoticeExpected:
		return stagePromised, ocs.NoticeWait
	case r == ocs.NoticeUndelivered && n.Attempt < ocs.NoticeAttempts:
		return stageWaiting, 0
	}
	return stageDone, 0
}

// endRipe has sessions ended whose time to report is over, as CloseSession does:
// the sweeper closes each exactly once.
func (n *Notices) endRipe(ctx context.Context) error {
	rows, err := n.pool.Query(ctx, sql.RipeEndings, endingsMax)
	if err != nil {
		return err
	}
	ripe, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ripeEnding, err error) {
		err = row.Scan(&e.session, &e.sub, &e.account.Bucket, &e.account.ID)
		return e, err
	})
	if err != nil {
		return err
	}
	for _, e := range ripe {
		if err := pgx.BeginFunc(ctx, n.pool, func(tx pgx.Tx) error { return e.end(ctx, tx) }); err != nil {
			return err
		}
	}
	return nil
}

type ripeEnding struct {
	session [16]byte
	sub     int64
	account ocs.AccountKey
}

// end looks again under the account's lock: a report may have come, or another
// node was faster.
func (e ripeEnding) end(ctx context.Context, tx pgx.Tx) error {
	now, err := lockAccount(ctx, tx, e.account)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, sql.TakeEnding, e.account.Bucket, e.session, e.sub)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	_, err = endSessions(ctx, tx, e.account, []ocs.SessionRef{{Key: e.session, Sub: uint64(e.sub)}}, now)
	return err
}

// Listen calls hint whenever a node has raised notices, and whenever it may have
// missed one, until ctx ends. It holds a connection of its own and makes a lost one
// anew. hint must not block.
func (n *Notices) Listen(ctx context.Context, hint func()) error {
	for lost := false; ; {
		err := n.listen(ctx, hint)
		if ctx.Err() != nil {
			return nil
		}
		if !lost {
			n.logger.Warn("notices are not listened for; they are found by polling until the database can be reached again", "err", err)
		}
		lost = !errors.Is(err, errListened)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

// errListened says that the connection had been made before it was lost.
var errListened = errors.New("listening connection lost")

// listen hears one connection until it breaks.
func (n *Notices) listen(ctx context.Context, hint func()) error {
	conn, err := pgx.ConnectConfig(ctx, n.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "listen "+sql.NoticeChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for {
		hint()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("%w: %w", errListened, err)
		}
	}
}
