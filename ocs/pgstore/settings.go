package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gygate/ocs"
)

// Settings are changes to an account; nil leaves as it is.
type Settings struct {
	Lost       *bool // reported lost, or found again
	Blocked    *bool
	Closed     *bool
	ValidFrom  *time.Time // zero time: always
	ValidUntil *time.Time // zero time: for ever
	Threshold  *ocs.Money
	Class      *string
	Zone       *string
	By, Reason string // of setting Lost or Blocked
}

// Set changes an account. What is granted to open sessions stays; their clients are
// asked to come back, or to end them when the account is barred now. Closing an
// account ends its sessions.
func (a *Admin) Set(ctx context.Context, identity string, s Settings) (AccountInfo, error) {
	if err := s.check(); err != nil {
		return AccountInfo{}, err
	}
	err := a.change(ctx, identity, func(tx pgx.Tx, key ocs.AccountKey, now time.Time) error {
		account, _, err := readAccount(ctx, tx, key)
		if err != nil {
			return err
		}
		was := *account
		s.apply(account, now)
		if !account.ValidFrom.IsZero() && !account.ValidUntil.IsZero() && !account.ValidFrom.Before(account.ValidUntil) {
			return fmt.Errorf("%w: the validity ends before it begins", ErrInput)
		}
		if err := updateAccount(ctx, tx, account, now); err != nil {
			return err
		}
		return raiseChange(ctx, tx, &was, account, now)
	})
	if err != nil {
		return AccountInfo{}, fmt.Errorf("set: %w", err)
	}
	return a.Show(ctx, identity)
}

func (s *Settings) check() error {
	if s.Threshold != nil && *s.Threshold < 0 {
		return fmt.Errorf("%w: the threshold must not be negative", ErrInput)
	}
	if s.Zone != nil {
		if _, err := time.LoadLocation(*s.Zone); err != nil {
			return fmt.Errorf("%w: time zone: %w", ErrInput, err)
		}
	}
	return nil
}

func (s *Settings) apply(a *ocs.Account, now time.Time) {
	assign(&a.Closed, s.Closed)
	assign(&a.ValidFrom, s.ValidFrom)
	assign(&a.ValidUntil, s.ValidUntil)
	assign(&a.Threshold, s.Threshold)
	assign(&a.Class, s.Class)
	assign(&a.Zone, s.Zone)
	s.mark(&a.Lost, s.Lost, now)
	s.mark(&a.Blocked, s.Blocked, now)
}

func assign[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

// mark sets or clears a flag; one that is set keeps when and by whom it was.
func (s *Settings) mark(flag **ocs.Flag, value *bool, now time.Time) {
	switch {
	case value == nil || (*value && *flag != nil):
	case *value:
		*flag = &ocs.Flag{Since: now, By: s.By, Reason: s.Reason}
	default:
		*flag = nil
	}
}

func updateAccount(ctx context.Context, tx pgx.Tx, a *ocs.Account, now time.Time) error {
	lostSince, lostBy, lostReason := flagColumns(a.Lost)
	blockedSince, blockedBy, blockedReason := flagColumns(a.Blocked)
	_, err := tx.Exec(ctx, `
		update account set class = $3, closed_at = case when $4 then coalesce(closed_at, $5::timestamptz) end,
		       lost_since = $6, lost_by = $7, lost_reason = $8, blocked_since = $9, blocked_by = $10, blocked_reason = $11,
		       valid_from = $12, valid_until = $13, threshold = $14, zone = $15
		where bucket = $1 and id = $2`,
		a.Key.Bucket, a.Key.ID, a.Class, a.Closed, now, lostSince, lostBy, lostReason, blockedSince, blockedBy, blockedReason,
		nullable(a.ValidFrom), nullable(a.ValidUntil), int64(a.Threshold), a.Zone)
	return err
}

func flagColumns(f *ocs.Flag) (since *time.Time, by, reason *string) {
	if f == nil {
		return nil, nil, nil
	}
	return &f.Since, &f.By, &f.Reason
}

// raiseChange raises the notices a change of an account calls for.
func raiseChange(ctx context.Context, tx pgx.Tx, was, is *ocs.Account, now time.Time) error {
	closed := is.Closed && !was.Closed
	switch {
	case closed || (is.Lost != nil && was.Lost == nil) || (is.Blocked != nil && was.Blocked == nil) || (barred(is, now) && !barred(was, now)):
		return raiseBarred(ctx, tx, is.Key, closed, now)
	case barred(is, now):
		return nil
	case barred(was, now) || is.Threshold != was.Threshold || !is.ValidUntil.Equal(was.ValidUntil):
		return raiseCredit(ctx, tx, is.Key, now)
	}
	return nil
}

// barred reports whether the engine refuses the account's open sessions.
func barred(a *ocs.Account, now time.Time) bool {
	return a.Closed || a.Lost != nil || a.Blocked != nil || now.Before(a.ValidFrom) || (!a.ValidUntil.IsZero() && !now.Before(a.ValidUntil))
}
