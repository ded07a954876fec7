package main

import (
	"fmt"
	"strconv"
	"strings"

	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// parseBalance reads one --add-balance: "amount=5.00,services=32260@3gpp.org",
// "unit=seconds,amount=3600,targets=100 101,priority=-1,until=2027-01-01".
// Amounts are decimals for money, else whole units; lists have spaces between.
func parseBalance(text string) (ocs.Balance, error) {
	b := ocs.Balance{Unit: ocs.Amount}
	amount := ""
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "unit":
			b.Unit, err = pgstore.ParseUnit(value)
		case "amount":
			amount = value
		case "services":
			b.Services = strings.Fields(value)
		case "targets":
			b.Targets, err = parseGroups(value)
		case "priority":
			if b.Priority, err = strconv.Atoi(value); err != nil {
				err = fmt.Errorf("priority %q is no whole number", value)
			}
		case "from":
			b.ValidFrom, err = parseDay("from", value)
		case "until":
			b.ValidUntil, err = parseDay("until", value)
		default:
			err = fmt.Errorf("%q is none of unit, amount, services, targets, priority, from, until", key)
		}
		if err != nil {
			return b, usage("--add-balance %q: %w", text, err)
		}
	}
	return b, setAmount(&b, text, amount)
}

func setAmount(b *ocs.Balance, text, amount string) error {
	if b.Unit == ocs.Amount {
		money, err := parseMoney("--add-balance amount", amount)
		b.Amount = int64(money)
		return err
	}
	units, err := strconv.ParseInt(amount, 10, 64)
	if err != nil || units < 0 {
		return usage("--add-balance %q: amount wants a whole number of units", text)
	}
	b.Amount = units
	return nil
}

func parseGroups(text string) ([]uint32, error) {
	var groups []uint32
	for _, word := range strings.Fields(text) {
		g, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("target %q is no rating group", word)
		}
		groups = append(groups, uint32(g))
	}
	return groups, nil
}

// openingBalances are the balances of a new account: the money everything may
// use, and those added to it. nil leaves it to the one of n.Balance.
func openingBalances(main ocs.Money, added []string) ([]ocs.Balance, error) {
	if len(added) == 0 {
		return nil, nil
	}
	all := []ocs.Balance{{Unit: ocs.Amount, Amount: int64(main)}}
	for _, text := range added {
		b, err := parseBalance(text)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}
