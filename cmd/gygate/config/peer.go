package config

import (
	"fmt"
	"strings"
	"time"

	"gygate/ocs"
)

// Peer is a Diameter client of the charging system, with what has to be known of
// its ways. One that connects needs addresses, or a certificate: without addresses it
// is let in by TLS only. One that is Relayed never connects itself, its requests come
// through a relay that stands in the list too.
type Peer struct {
	Host        string   `yaml:"host"`
	Addresses   []string `yaml:"addresses"`
	Certificate string   `yaml:"certificate_name"`
	Relayed     bool     `yaml:"relayed"`
	Trusted     bool     `yaml:"trusted"`
	Strict      bool     `yaml:"strict"`
	Tolerate    Tolerate `yaml:"tolerate"`
	Habits      Habits   `yaml:"habits"`
}

// Tolerate switches single tolerances. One that is left out is on, or off for a
// strict peer.
type Tolerate struct {
	VendorApplication *bool `yaml:"vendor_application"`
	NewerAVPs         *bool `yaml:"newer_avps"`
	ForbiddenAVPs     *bool `yaml:"forbidden_avps"`
	UnlistedValues    *bool `yaml:"unlisted_values"`
	TextChargingID    *bool `yaml:"text_charging_id"`
	BothApplications  *bool `yaml:"both_applications"`
	MissingMembers    *bool `yaml:"missing_members"`
	MissingIndicator  *bool `yaml:"missing_indicator"`
	LateTerminate     *bool `yaml:"late_terminate"`
}

// Habits says what a client does that others do not, or the reverse.
type Habits struct {
	No4011        bool          `yaml:"no_4011"`
	Reauthorize   *bool         `yaml:"reauthorize"` // left out: true
	Thresholds    *bool         `yaml:"thresholds"`  // left out: true
	InterimUsage  bool          `yaml:"interim_usage"`
	Announcements bool          `yaml:"announcements"`
	ValidityMax   time.Duration `yaml:"validity_max"`
	RefundMax     ocs.Money     `yaml:"refund_max"`
}

// Tolerates is the value of a single tolerance of the peer.
func (p *Peer) Tolerates(single *bool) bool {
	if single == nil {
		return !p.Strict
	}
	return *single
}

// On is the value of a habit that is the rule.
func On(habit *bool) bool { return habit == nil || *habit }

// decide gives each switch that was left out the value it has.
func (p *Peer) decide() {
	t := &p.Tolerate
	for _, single := range []**bool{
		&t.VendorApplication, &t.NewerAVPs, &t.ForbiddenAVPs, &t.UnlistedValues, &t.TextChargingID,
		&t.BothApplications, &t.MissingMembers, &t.MissingIndicator, &t.LateTerminate,
	} {
		value := p.Tolerates(*single)
		*single = &value
	}
	for _, habit := range []**bool{&p.Habits.Reauthorize, &p.Habits.Thresholds} {
		value := On(*habit)
		*habit = &value
	}
}

func (k *checker) peers(d *Diameter) {
	hosts := map[string]bool{}
	for i, p := range d.Peers {
		path := fmt.Sprintf("diameter.peers[%d]", i)
		k.identity(path+".host", p.Host)
		if host := strings.ToLower(p.Host); hosts[host] {
			k.fault(path+".host", "%q stands in the list twice", p.Host)
		} else {
			hosts[host] = true
		}
		switch {
		case p.Relayed && (len(p.Addresses) > 0 || p.Certificate != ""):
			k.fault(path+".relayed", "a client that comes through a relay has neither addresses nor certificate_name")
		case !p.Relayed && len(p.Addresses) == 0 && p.Certificate == "":
			k.fault(path+".addresses", "is empty: name the networks the peer connects from; or give certificate_name, and it is let in by TLS only; or say relayed: true")
		case !p.Relayed && len(p.Addresses) == 0 && len(d.TLS.Listen) == 0:
			k.fault(path+".addresses", "is empty, so that the peer is let in by TLS only, but diameter.tls.listen is empty: open it, or name the networks the peer connects from")
		}
		k.prefixes(path+".addresses", p.Addresses)
		if v := p.Habits.ValidityMax; v != 0 {
			k.atLeast(path+".habits.validity_max", v, ocs.ValidityMin)
		}
		if p.Habits.RefundMax < 0 {
			k.fault(path+".habits.refund_max", "is negative")
		}
	}
}
