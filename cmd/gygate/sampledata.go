package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gygate/cmd/gygate/sample"
	"gygate/ocs"
	"gygate/ocs/pgstore"
	"gygate/vpnlogic/pgdirectory"
)

// loadSample puts the sample data into a gygate's database, once: the group is
// written last, so that a load that broke off is done again. It reports whether
// it loaded.
func loadSample(ctx context.Context, m *Main) (loaded bool, err error) {
	directory := pgdirectory.NewAdmin(m.books.pool)
	groups, err := directory.Groups(ctx)
	if err != nil {
		return false, err
	}
	for _, g := range groups {
		if g.ID == sample.Group.ID {
			return false, nil
		}
	}
	if err := loadMoney(ctx, m.admin); err != nil {
		return false, fmt.Errorf("sample data: %w", err)
	}
	if err := directory.CreateGroup(ctx, sample.Group); err != nil {
		return false, fmt.Errorf("sample data: %w", err)
	}
	for _, member := range sample.Members() {
		if err := directory.CreateMember(ctx, member); err != nil {
			return false, fmt.Errorf("sample data: %w", err)
		}
	}
	return true, m.reload(ctx)
}

// loadMoney opens the accounts and adds the tariff; what is there already
// stays as it is.
func loadMoney(ctx context.Context, admin *pgstore.Admin) error {
	if err := admin.PutTariff(ctx, sample.Tariff()); err != nil {
		return err
	}
	for _, l := range sample.Lines() {
		if l.Account == nil {
			continue
		}
		err := openAccount(ctx, admin, l)
		if err != nil && !errors.Is(err, pgstore.ErrIdentityTaken) {
			return err
		}
	}
	return nil
}

func openAccount(ctx context.Context, admin *pgstore.Admin, l sample.Line) error {
	a := pgstore.NewAccount{
		Identities: []ocs.Identity{{Kind: ocs.E164, Value: string(l.Number)}},
		Currency:   sample.EUR,
		Balance:    l.Account.Balance,
		Threshold:  l.Account.Threshold,
	}
	if l.Account.Expired {
		a.ValidUntil = time.Now().Add(-24 * time.Hour)
	}
	if _, err := admin.CreateAccount(ctx, a); err != nil {
		return err
	}
	if !l.Account.Lost && !l.Account.Blocked {
		return nil
	}
	_, err := admin.Set(ctx, string(l.Number), pgstore.Settings{
		Lost: &l.Account.Lost, Blocked: &l.Account.Blocked, By: "sample", Reason: l.Name + " " + l.Shows,
	})
	return err
}

// sampleAccounts are the lines that have an account.
func sampleAccounts() []sample.Line {
	var all []sample.Line
	for _, l := range sample.Lines() {
		if l.Account != nil {
			all = append(all, l)
		}
	}
	return all
}
