package suite

import (
	"net"
	"sync"
	"testing"

	"github.com/fiorix/go-diameter/v4/diam"
	codes "github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
	"github.com/fiorix/go-diameter/v4/diam/sm"

	"gygate/diameter"
	"gygate/diameter/diametertest"
)

// stockServer is a charging server as go-diameter's own examples make one: its
// state machine, its dictionaries, its helper for answers. It grants everybody a
// minute.
type stockServer struct {
	address string
	account sync.Mutex // held while an account is not to be had
}

// stockSettings are those of a node made of the library.
func stockSettings(host string, state uint32) *sm.Settings {
	return &sm.Settings{
		OriginHost: datatype.DiameterIdentity(host), OriginRealm: realm, ProductName: "go-diameter",
		OriginStateID:   datatype.Unsigned32(state),
		HostIPAddresses: []datatype.Address{datatype.Address(net.IPv4(127, 0, 0, 1).To4())},
	}
}

// startStock serves until the end of the test.
func startStock(t testing.TB) *stockServer {
	t.Helper()
	s := &stockServer{}
	machine := sm.New(stockSettings("ocs1.vpn.example", 3973000000))
	machine.HandleFunc("CCR", s.charge)
	s.address = diametertest.ServeLibrary(t, &diam.Server{Handler: machine, Dict: dict.Default})
	return s
}

// hold makes charging wait until release is called.
func (s *stockServer) hold() (release func()) {
	s.account.Lock()
	return s.account.Unlock
}

// charge reads a CCR as the library's dictionary describes it, one
// Multiple-Services-Credit-Control included, and grants a minute.
func (s *stockServer) charge(conn diam.Conn, m *diam.Message) {
	var ccr struct {
		SessionID string `avp:"Session-Id"`
		Type      int    `avp:"CC-Request-Type"`
		Number    uint32 `avp:"CC-Request-Number"`
		Service   *struct {
			RatingGroup uint32 `avp:"Rating-Group"`
		} `avp:"Multiple-Services-Credit-Control"`
	}
	if m.Unmarshal(&ccr) != nil {
		return
	}
	s.account.Lock()
	defer s.account.Unlock()
	a := m.Answer(diam.Success)
	add := func(code int, data datatype.Type) {
		if _, err := a.NewAVP(code, codes.Mbit, 0, data); err != nil {
			panic(err)
		}
	}
	add(codes.SessionID, datatype.UTF8String(ccr.SessionID))
	add(codes.OriginHost, datatype.DiameterIdentity("ocs1.vpn.example"))
	add(codes.OriginRealm, datatype.DiameterIdentity(realm))
	add(codes.CCRequestType, datatype.Enumerated(ccr.Type))
	add(codes.CCRequestNumber, datatype.Unsigned32(ccr.Number))
	if ccr.Service != nil {
		grant := &diam.GroupedAVP{AVP: []*diam.AVP{diam.NewAVP(codes.CCTime, codes.Mbit, 0, datatype.Unsigned32(60))}}
		add(codes.MultipleServicesCreditControl, &diam.GroupedAVP{AVP: []*diam.AVP{
			diam.NewAVP(codes.GrantedServiceUnit, codes.Mbit, 0, grant),
			diam.NewAVP(codes.RatingGroup, codes.Mbit, 0, datatype.Unsigned32(ccr.Service.RatingGroup)),
			diam.NewAVP(codes.ResultCode, codes.Mbit, 0, datatype.Unsigned32(diam.Success)),
		}})
	}
	_, _ = a.WriteTo(conn) // the peer sees what does not come
}

// stockClient is a client made of the library, with its watchdog on.
func stockClient() *sm.Client {
	one := func(code uint32, value uint32) []*diam.AVP {
		return []*diam.AVP{diam.NewAVP(code, codes.Mbit, 0, datatype.Unsigned32(value))}
	}
	return &sm.Client{
		Dict: dict.Default, Handler: sm.New(stockSettings(as.Host, as.StateID)), MaxRetransmits: 3, EnableWatchdog: true,
		SupportedVendorID: one(codes.SupportedVendorID, diameter.Vendor3GPP),
		AuthApplicationID: one(codes.AuthApplicationID, diameter.AppCreditControl),
	}
}

// stockCCR is a CCR-I of the library's own making.
func stockCCR() *diam.Message {
	m := diam.NewRequest(diam.CreditControl, diameter.AppCreditControl, dict.Default)
	for code, data := range map[uint32]datatype.Type{
		codes.OriginHost: datatype.DiameterIdentity(as.Host), codes.OriginRealm: datatype.DiameterIdentity(realm),
		codes.DestinationRealm: datatype.DiameterIdentity(realm), codes.AuthApplicationID: datatype.Unsigned32(diameter.AppCreditControl),
		codes.ServiceContextID: datatype.UTF8String(voice), codes.CCRequestType: datatype.Enumerated(initial),
		codes.CCRequestNumber: datatype.Unsigned32(0),
	} {
		m.AddAVP(diam.NewAVP(code, codes.Mbit, 0, data))
	}
	m.InsertAVP(diam.NewAVP(codes.SessionID, codes.Mbit, 0, datatype.UTF8String(as.Host+";1;1")))
	return m
}
