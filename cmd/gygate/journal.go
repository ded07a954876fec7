package main

import (
	"encoding/hex"
	"strconv"
	"time"

	"gygate/cmd/gygate/ladder"
	"gygate/ocs"
	"gygate/ocs/pgstore"
)

// journalLine is a row of the journal as JSON. Amounts are texts in the unit of
// the row's balance: decimals of the currency's unit for money, else counts.
type journalLine struct {
	At          time.Time `json:"at"`
	Balance     int64     `json:"balance"`
	Kind        string    `json:"kind"`
	What        string    `json:"what"`
	Session     string    `json:"session,omitempty"`
	SubSession  uint64    `json:"sub_session,omitempty"`
	Type        uint8     `json:"cc_request_type,omitempty"`
	Number      uint32    `json:"cc_request_number"`
	RatingGroup uint32    `json:"rating_group,omitempty"`
	Target      string    `json:"target,omitempty"`
	Used        int64     `json:"used"`
	Debited     string    `json:"debited"`
	Refunded    string    `json:"refunded"`
	Reserved    string    `json:"reserved"`
	Credited    string    `json:"credited"`
	Overrun     string    `json:"overrun"`
	Amount      string    `json:"amount_after"`
	Frozen      string    `json:"frozen_after"`
	Source      string    `json:"source,omitempty"`
	Key         string    `json:"key,omitempty"`
	ReversalOf  string    `json:"reversal_of,omitempty"`
}

// journalLines writes rows of an account whose balances say their units. A row
// without a balance is an overrun, which is money.
func journalLines(rows []ocs.JournalRow, balances []pgstore.BalanceInfo) []journalLine {
	units := map[int64]string{0: "money"}
	for _, b := range balances {
		units[b.ID] = b.Unit
	}
	lines := []journalLine{}
	for _, r := range rows {
		text := func(n int64) string { return amountText(units[r.Balance], n) }
		lines = append(lines, journalLine{
			At: r.At, Balance: r.Balance, Kind: string(r.Kind), What: ladder.What(r), Session: r.SessionID, SubSession: r.SubSession,
			Type: uint8(r.Type), Number: r.Number, RatingGroup: r.RatingGroup, Target: string(r.Target), Used: r.Used,
			Debited: text(r.Debited), Refunded: text(r.Refunded), Reserved: text(r.Reserved), Credited: text(r.Credited), Overrun: text(r.Overrun),
			Amount: text(r.AmountAfter), Frozen: text(r.FrozenAfter), Source: r.CreditSource, Key: r.CreditKey, ReversalOf: hex.EncodeToString(r.ReversalOf),
		})
	}
	return lines
}

// amountText is an amount without its unit.
func amountText(unit string, n int64) string {
	if unit == "money" {
		return ocs.Money(n).String()
	}
	return strconv.FormatInt(n, 10)
}
