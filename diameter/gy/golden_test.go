package gy

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"gygate/diameter"
	"gygate/ocs"
)

func at(text string) time.Time {
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return v
}

func timeUnits(seconds uint32) ServiceUnits { return ServiceUnits{Time: Some(seconds)} }

func octetUnits(octets uint64) ServiceUnits { return ServiceUnits{Total: Some(octets)} }

// requests are the golden requests as structs.
var requests = map[string]CCR{
	"G1": {
		SessionID: "vpnas1.vpn.example;3973000001;17", OriginHost: "vpnas1.vpn.example", OriginRealm: "vpn.example",
		DestinationRealm: "vpn.example", ServiceContextID: ContextVoice, Type: ocs.Initial, Number: 0,
		EventTimestamp: at("2026-11-23T08:00:00Z"), Payer: []Subscription{{ocs.E164, "8613800000001"}},
		MultipleServices: Some(uint32(1)),
		Services:         []Service{{Requested: Some(ServiceUnits{}), RatingGroup: Some(uint32(100))}},
		Call: ServiceInformation{
			IMS: &IMSInformation{
				RoleOfNode: Some(uint32(0)), NodeFunctionality: Some(uint32(16)),
				CallingParty: "tel:+8613800000001", CalledParty: "tel:+8613800000002",
				RequestedParty: "tel:6002;phone-context=vpn7001.example",
				Specific:       []SpecificInfo{{SpecificGroup, "7001"}, {SpecificClass, "on-net"}},
			},
			VCS: &VCSInformation{
				CallReference: []byte{1, 2, 3, 4, 5, 6, 7, 8},
				MSCAddress:    []byte{0x68, 0x31, 0x08, 0x00, 0x99},
				StartTime:     at("2026-11-23T08:00:00Z"),
			},
		},
	},
	"G11": updateOfTrace6("ocs1.vpn.example"),
	"G12": updateOfTrace6("ocs2.vpn.example"),
	"G13": {
		SessionID: "pgw1.vpn.example;3973000100;9", OriginHost: "pgw1.vpn.example", OriginRealm: "vpn.example",
		DestinationRealm: "vpn.example", DestinationHost: "ocs1.vpn.example", ServiceContextID: ContextData,
		Type: ocs.Update, Number: 1, EventTimestamp: at("2026-11-23T12:01:30Z"),
		Payer: []Subscription{{ocs.IMSI, "460001234567890"}},
		Services: []Service{{
			Requested: Some(ServiceUnits{}), RatingGroup: Some(uint32(10)),
			Used: []UsedUnits{
				{ServiceUnits: octetUnits(40_000_000), TariffChange: Some(uint32(0)), Reason: Some(uint32(0))},
				{ServiceUnits: octetUnits(50_000_000), TariffChange: Some(uint32(1)), Reason: Some(uint32(0))},
			},
		}},
	},
}

func updateOfTrace6(host string) CCR {
	return CCR{
		SessionID: "vpnas1.vpn.example;3973000001;21", OriginHost: "vpnas1.vpn.example", OriginRealm: "vpn.example",
		DestinationRealm: "vpn.example", DestinationHost: host, ServiceContextID: ContextVoice,
		Type: ocs.Update, Number: 1, EventTimestamp: at("2026-11-23T08:01:02Z"),
		Payer: []Subscription{{ocs.E164, "8613800000001"}},
		Services: []Service{{
			Requested: Some(ServiceUnits{}), RatingGroup: Some(uint32(100)),
			Used: []UsedUnits{{ServiceUnits: timeUnits(50), Reason: Some(uint32(0))}},
		}},
	}
}

func TestGoldenRequests(t *testing.T) {
	for name, want := range requests {
		t.Run(name, func(t *testing.T) {
			m := golden(t, name)
			got, fault := ParseCCR(m)
			if fault != nil {
				t.Fatal(fault)
			}
			if got.Content == [16]byte{} {
				t.Error("no content hash")
			}
			got.Content = [16]byte{}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("parsed\n%+v\nwant\n%+v", *got, want)
			}
			if frame := want.Append(nil, m.Header); !bytes.Equal(frame, m.Raw) {
				t.Errorf("encoded\n%s\nwant\n%s", hex.Dump(frame), hex.Dump(m.Raw))
			}
		})
	}
}

// answers of the golden file as structs, with the requests they answer.
var goldenAnswers = map[string]struct {
	request diameter.Header
	answer  CCA
}{
	"G2": {
		diameter.Header{HopByHop: 0xa01, EndToEnd: 0x5a100001},
		CCA{
			SessionID: "vpnas1.vpn.example;3973000001;17", OriginHost: "ocs1.vpn.example", OriginRealm: "vpn.example",
			ResultCode: diameter.Success, Type: ocs.Initial, SessionFailover: Some(uint32(1)),
			Services: []ServiceAnswer{{
				Granted: Some(GrantedUnits{ServiceUnits: timeUnits(60)}), RatingGroup: Some(uint32(100)),
				Validity: 300, ResultCode: diameter.Success, TimeThreshold: 10,
			}},
			FailureHandling: Some(uint32(0)), OriginStateID: 3973000000,
		},
	},
	"G3": {
		diameter.Header{HopByHop: 0xa03, EndToEnd: 0x5a100003},
		CCA{
			SessionID: "vpnas1.vpn.example;3973000001;17", OriginHost: "ocs1.vpn.example", OriginRealm: "vpn.example",
			ResultCode: diameter.Success, Type: ocs.Terminate, Number: 2,
			Services: []ServiceAnswer{{RatingGroup: Some(uint32(100)), ResultCode: diameter.Success}},
			Cost:     Some(AmountOf(920_000, 156)),
		},
	},
	"G8": {
		diameter.Header{HopByHop: 0xe02, EndToEnd: 0x5a1000e2},
		CCA{
			SessionID: "vpnas1.vpn.example;3973000001;19", OriginHost: "ocs1.vpn.example", OriginRealm: "vpn.example",
			ResultCode: diameter.Success, Type: ocs.Update, Number: 1,
			Services: []ServiceAnswer{{
				Granted: Some(GrantedUnits{ServiceUnits: timeUnits(50)}), RatingGroup: Some(uint32(100)),
				Validity: 300, ResultCode: diameter.Success, FinalUnit: Some(uint32(0)),
			}},
		},
	},
}

func TestGoldenAnswers(t *testing.T) {
	for name, c := range goldenAnswers {
		t.Run(name, func(t *testing.T) {
			m := golden(t, name)
			got, fault := ParseCCA(m)
			if fault != nil {
				t.Fatal(fault)
			}
			if !reflect.DeepEqual(*got, c.answer) {
				t.Errorf("parsed\n%+v\nwant\n%+v", *got, c.answer)
			}
			request := CCR{SessionID: c.answer.SessionID, Type: c.answer.Type, Number: c.answer.Number}
			req := parse(t, request.Append(nil, c.request))
			local := diameter.Origin{Host: c.answer.OriginHost, Realm: c.answer.OriginRealm}
			if frame := c.answer.Append(nil, req, local); !bytes.Equal(frame, m.Raw) {
				t.Errorf("encoded\n%s\nwant\n%s", hex.Dump(frame), hex.Dump(m.Raw))
			}
		})
	}
}
