package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gygate/ocs"
	"gygate/sql"
)

// What a caller of Admin may act upon.
var (
	ErrNoAccount     = errors.New("no such account")
	ErrNoSession     = errors.New("no such open session")
	ErrIdentityTaken = errors.New("identity belongs to another account")
	ErrKeyReused     = errors.New("idempotency key was used for something else")
	ErrClosed        = errors.New("account is closed")
	ErrInput         = errors.New("invalid input")
)

// adminLockTimeout bounds how long an administrator's transaction waits for an
// account a batch holds.
const adminLockTimeout = 5 * time.Second

// Admin changes and shows accounts, tariffs and sessions beside the running
// engine. Whatever changes something under an account locks the account's row
// first, as the engine does.
type Admin struct {
	pool        *pgxpool.Pool
	quietTariff bool // changes of the tariff raise no notices
}

// NewAdmin works on the given pool, which stays the caller's.
func NewAdmin(pool *pgxpool.Pool) *Admin { return &Admin{pool: pool} }

// identityPrefixes mark the kinds of identity in text; digits alone are E.164.
var identityPrefixes = map[ocs.IdentityKind]string{ocs.IMSI: "imsi:", ocs.NAI: "nai:", ocs.Private: "private:"}

// ParseIdentity reads an identity as an operator writes it: "49301234567" (E.164,
// a '+' is allowed), "imsi:262011234567890", "sip:ada@example.org",
// "nai:ada@example.org", "private:…".
func ParseIdentity(text string) (ocs.Identity, error) {
	kind, value := ocs.E164, text
	if strings.HasPrefix(text, "sip:") || strings.HasPrefix(text, "sips:") {
		kind = ocs.SIPURI
	}
	for k, prefix := range identityPrefixes {
		if rest, found := strings.CutPrefix(text, prefix); found {
			kind, value = k, rest
		}
	}
	id, ok := ocs.NormalizeIdentity(kind, value)
	if !ok {
		return ocs.Identity{}, fmt.Errorf("%w: %q is no identity: write digits, imsi:…, sip:…, nai:… or private:…", ErrInput, text)
	}
	return id, nil
}

// FormatIdentity writes an identity as ParseIdentity reads it.
func FormatIdentity(id ocs.Identity) string { return identityPrefixes[id.Kind] + id.Value }

// numberPrefix marks the internal number of an account, as Verify names it.
const numberPrefix = "id:"

// find looks up the account of an identity, or of its internal number, without a lock.
func (a *Admin) find(ctx context.Context, identity string) (key ocs.AccountKey, err error) {
	if number, found := strings.CutPrefix(identity, numberPrefix); found {
		return a.findNumber(ctx, number)
	}
	id, err := ParseIdentity(identity)
	if err != nil {
		return key, err
	}
	err = a.pool.QueryRow(ctx, "select bucket, account from identity where kind = $1 and value = $2", int16(id.Kind), id.Value).
		Scan(&key.Bucket, &key.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return key, fmt.Errorf("%w: %s", ErrNoAccount, identity)
	}
	return key, err
}

// findNumber looks through all buckets: which one holds an account is only stored
// with it.
func (a *Admin) findNumber(ctx context.Context, number string) (key ocs.AccountKey, err error) {
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return key, fmt.Errorf("%w: %s%s is no number of an account", ErrInput, numberPrefix, number)
	}
	err = a.pool.QueryRow(ctx, "select bucket, id from account where id = $1", id).Scan(&key.Bucket, &key.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return key, fmt.Errorf("%w: %s%d", ErrNoAccount, numberPrefix, id)
	}
	return key, err
}

// change runs do in a transaction that holds the lock of the identity's account.
// now is the database's clock after the lock was granted.
func (a *Admin) change(ctx context.Context, identity string, do func(tx pgx.Tx, key ocs.AccountKey, now time.Time) error) error {
	key, err := a.find(ctx, identity)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		now, err := lockAccount(ctx, tx, key)
		if err != nil {
			return err
		}
		return do(tx, key, now)
	})
}

// lockAccount takes the locks of the account and its balances, whose versions it
// raises, so that no lane relies on what it knows of them, and reads the clock; in
// statements of their own, so that what follows sees all that was committed before.
func lockAccount(ctx context.Context, tx pgx.Tx, key ocs.AccountKey) (now time.Time, err error) {
	if _, err := tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", milliseconds(adminLockTimeout)); err != nil {
		return now, err
	}
	tag, err := tx.Exec(ctx, "select from account where bucket = $1 and id = $2 for no key update", key.Bucket, key.ID)
	if err != nil {
		return now, fmt.Errorf("lock the account: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return now, ErrNoAccount
	}
	if _, err := tx.Exec(ctx, sql.RaiseVersions, key.Bucket, key.ID); err != nil {
		return now, fmt.Errorf("lock the balances: %w", err)
	}
	err = tx.QueryRow(ctx, sql.Clock).Scan(&now)
	return now, err
}

// violates reports a unique violation of the named constraint.
func violates(err error, constraint string) bool {
	const uniqueViolation = "23505"
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == uniqueViolation && pgErr.ConstraintName == constraint
}
