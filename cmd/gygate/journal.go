package main

import (
	"encoding/hex"
	"time"

	"gygate/cmd/gygate/ladder"
	"gygate/ocs"
)

// journalLine is a row of the journal as JSON. Amounts are in the balance's
// unit: money in millionths of the currency's unit.
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
	Debited     int64     `json:"debited"`
	Refunded    int64     `json:"refunded"`
	Reserved    int64     `json:"reserved"`
	Credited    int64     `json:"credited"`
	Overrun     int64     `json:"overrun"`
	Amount      int64     `json:"amount_after"`
	Frozen      int64     `json:"frozen_after"`
	Source      string    `json:"source,omitempty"`
	Key         string    `json:"key,omitempty"`
	ReversalOf  string    `json:"reversal_of,omitempty"`
}

func journalLines(rows []ocs.JournalRow) []journalLine {
	lines := []journalLine{}
	for _, r := range rows {
		lines = append(lines, journalLine{
			At: r.At, Balance: r.Balance, Kind: string(r.Kind), What: ladder.What(r), Session: r.SessionID, SubSession: r.SubSession,
			Type: uint8(r.Type), Number: r.Number, RatingGroup: r.RatingGroup, Target: string(r.Target), Used: r.Used,
			Debited: r.Debited, Refunded: r.Refunded, Reserved: r.Reserved, Credited: r.Credited, Overrun: r.Overrun,
			Amount: r.AmountAfter, Frozen: r.FrozenAfter, Source: r.CreditSource, Key: r.CreditKey, ReversalOf: hex.EncodeToString(r.ReversalOf),
		})
	}
	return lines
}
