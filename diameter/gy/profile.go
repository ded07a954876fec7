package gy

import (
	"time"

	"gygate/diameter"
	"gygate/diameter/peer"
	"gygate/ocs"
)

// Profile is what the configuration says of a credit-control client beyond the
// bytes of its messages: what is tolerated of it, and what it does unlike others.
// The name behind each field is that of its switch.
type Profile struct {
	// MissingIndicator (missing_indicator): the first interrogation may have
	// Multiple-Services-Credit-Control without Multiple-Services-Indicator
	// (conformance B-012, D-020).
	MissingIndicator bool
	// LateTerminate (late_terminate): one CCR-T after a refused CCR-U is served,
	// not an unknown session (B-036, D-014).
	LateTerminate bool
	// No4011 (no_4011): it takes 4011 for a failure, so that what is free is
	// granted in slices at no price (D-004).
	No4011 bool
	// Reauthorize (reauthorize): it acts on RAR and ASR. Without it none is sent,
	// and its quotas are valid for shortValidity at most (B-202, D-024).
	Reauthorize bool
	// InterimUsage (interim_usage): use that its first interrogation reports was
	// served while no charging system answered, and is charged (D-055, D-056).
	InterimUsage bool
	// Thresholds (thresholds): it is sent quota thresholds (D-026).
	Thresholds bool
	// Announcements (announcements): it is told what to play before a final quota
	// ends (B-181).
	Announcements bool
	// ValidityMax (validity_max) caps Validity-Time; 0: no cap.
	ValidityMax time.Duration
	// RefundMax (refund_max) is the largest refund without a reference to a debit;
	// 0: none is allowed (B-175).
	RefundMax ocs.Money
}

// LenientProfile is that of a client nobody has configured: an ordinary one.
var LenientProfile = Profile{MissingIndicator: true, LateTerminate: true, Reauthorize: true, Thresholds: true}

// StrictProfile is an ordinary client that keeps to the standards.
var StrictProfile = Profile{Reauthorize: true, Thresholds: true}

// shortValidity is the Validity-Time of clients that cannot be asked to come back:
// so long can a top-up or a block go unnoticed (conformance B-202, trace 4h).
const shortValidity = 60 * time.Second

// profileOf finds the profile of a request's client: by its Origin-Host, else by
// the peer that delivered it. RefundMax is a permission, and a peer calls itself a
// relay: all but trusted ones have only their own, whatever Origin-Host they write.
func profileOf(look func(host string) (Profile, bool), client string, from *peer.Remote) Profile {
	if look == nil {
		return LenientProfile
	}
	profile, named := look(client)
	if named && (from.Relay && from.Trusted || diameter.SameIdentity(client, from.Host)) {
		return profile
	}
	transport, ok := look(from.Host)
	switch {
	case named:
		profile.RefundMax = transport.RefundMax
		return profile
	case ok:
		return transport
	}
	return LenientProfile
}

// habits is the part of the profile that the charging rules need.
func (p *Profile) habits() ocs.Habits {
	return ocs.Habits{NoFree: p.No4011, NoLateTerminate: !p.LateTerminate, Interim: p.InterimUsage}
}

// validity caps a grant's Validity-Time.
func (p *Profile) validity(d time.Duration) time.Duration {
	if !p.Reauthorize {
		d = min(d, shortValidity)
	}
	if p.ValidityMax > 0 {
		d = min(d, p.ValidityMax)
	}
	return d
}
