package diameter

// Mode lists what is tolerated of a peer, each departure from the standards by
// itself. The zero value tolerates nothing. The name behind each field is that of
// its switch in the configuration.
type Mode struct {
	VendorApplication bool // vendor_application: a Vendor-Specific-Application-Id stands in for Auth-Application-Id (D-001)
	NewerAVPs         bool // newer_avps: unknown 3GPP AVPs with the M bit pass inside Service-, PS-, IMS-Information and MSCC (D-066)
	ForbiddenAVPs     bool // forbidden_avps: AVPs that the command's table forbids are ignored (A-052, B-163)
	UnlistedValues    bool // unlisted_values: values of 3GPP enumerations that no release lists pass
	TextChargingID    bool // text_charging_id: a 3GPP-Charging-Id that is not 4 octets long passes
	BothApplications  bool // both_applications: a Vendor-Specific-Application-Id may name an Auth and an Acct application
	MissingMembers    bool // missing_members: members that real gateways leave out harmlessly may be missing
}

// Lenient tolerates everything, which is what real gateways need.
var Lenient = Mode{
	VendorApplication: true,
	NewerAVPs:         true,
	ForbiddenAVPs:     true,
	UnlistedValues:    true,
	TextChargingID:    true,
	BothApplications:  true,
	MissingMembers:    true,
}

// several reports whether more than one of the choice of g passes: an AVP too
// many counts as forbidden, but for an application too many.
func (m Mode) several(g *grammar) bool {
	if g.choice[0] == AuthApplicationID {
		return m.BothApplications
	}
	return m.ForbiddenAVPs
}
