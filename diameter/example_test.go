package diameter_test

import (
	"bytes"
	"fmt"

	"gygate/diameter"
)

// A server reads a request, validates it, and answers.
func Example() {
	dictionary, err := diameter.NewDictionary() // once, at start
	if err != nil {
		panic(err)
	}
	local := diameter.Origin{Host: "ocs1.vpn.example", Realm: "vpn.example"}

	// What a client sent: a watchdog request that lacks its Origin-Realm.
	b := diameter.Start(nil, diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CmdDeviceWatchdog, HopByHop: 7, EndToEnd: 9})
	b = diameter.AppendString(b, diameter.OriginHost, "vpnas1.vpn.example")
	network := bytes.NewReader(diameter.Finish(b, 0))

	request, err := diameter.ReadMessage(network)
	if err != nil {
		panic(err)
	}
	if fault := dictionary.Validate(request, diameter.Lenient); fault != nil {
		answer, _ := diameter.ParseMessage(diameter.ErrorAnswer(nil, request, fault, local))
		for a := range answer.AVPs() {
			fmt.Printf("%s: %d octets\n", dictionary.Name(a.Code, a.Vendor), len(a.Data))
		}
		fmt.Println(fault)
	}
	// Output:
	// Result-Code: 4 octets
	// Origin-Host: 16 octets
	// Origin-Realm: 11 octets
	// Error-Message: 20 octets
	// Failed-AVP: 8 octets
	// diameter 5005: missing Origin-Realm
}
