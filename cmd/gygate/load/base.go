package load

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"gygate/diameter"
)

// The base protocol as far as a client of one connection needs it (RFC 6733 §5):
// the capabilities exchange before the load, the watchdog's and the disconnection's
// answers in it, the disconnection after it.

const (
	connectTimeout    = 5 * time.Second // of TCP and the capabilities exchange, each
	disconnectTimeout = 2 * time.Second // for the DPA
	productName       = "gygate-load"
	causeRebooting    = 0 // Disconnect-Cause
)

// connect opens a connection up to its CEA.
func connect(target string, local diameter.Origin) (net.Conn, *ConnectError) {
	nc, err := net.DialTimeout("tcp", target, connectTimeout)
	if err != nil {
		return nil, &ConnectError{Target: target, Host: local.Host, Err: err}
	}
	code, err := exchangeCapabilities(nc, local)
	if err != nil {
		nc.Close()
		own, _, _ := net.SplitHostPort(nc.LocalAddr().String())
		return nil, &ConnectError{Target: target, Host: local.Host, Local: own, Code: code, Err: err}
	}
	return nc, nil
}

// exchangeCapabilities returns the Result-Code of the CEA, 0 when there was none.
func exchangeCapabilities(nc net.Conn, local diameter.Origin) (diameter.ResultCode, error) {
	if err := nc.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return 0, err
	}
	address, err := netip.ParseAddrPort(nc.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	b := startBase(diameter.CmdCapabilitiesExchange, local)
	b = diameter.AppendAddress(b, diameter.HostIPAddress, address.Addr().Unmap())
	b = diameter.AppendUint32(b, diameter.VendorID, 0)
	b = diameter.AppendString(b, diameter.ProductName, productName)
	b = diameter.AppendUint32(b, diameter.OriginStateID, local.StateID)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	if _, err := nc.Write(diameter.Finish(b, 0)); err != nil {
		return 0, err
	}
	cea, err := diameter.ReadMessage(nc)
	if err != nil {
		return 0, fmt.Errorf("no CEA: %w", err)
	}
	code := cea.ResultCode()
	if code != diameter.Success {
		text, _ := cea.Find(diameter.ErrorMessage)
		return code, fmt.Errorf("CEA with Result-Code %s %s", nameCode(code), text.Text())
	}
	return code, nil
}

// disconnect tells the peer that this was all, and waits for its answer or its end.
func disconnect(nc net.Conn, local diameter.Origin) error {
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(disconnectTimeout)); err != nil {
		return err
	}
	b := diameter.AppendUint32(startBase(diameter.CmdDisconnectPeer, local), diameter.DisconnectCause, causeRebooting)
	if _, err := nc.Write(diameter.Finish(b, 0)); err != nil {
		return err
	}
	for {
		m, err := diameter.ReadMessage(nc)
		if err != nil || m.Command == diameter.CmdDisconnectPeer {
			return nil // it has closed, or it agrees
		}
	}
}

// startBase begins a request of ours to the neighbour; a connection has each of them
// once, so that the command can be the identifier.
func startBase(command uint32, local diameter.Origin) []byte {
	h := diameter.Header{Flags: diameter.FlagRequest, Command: command, HopByHop: command, EndToEnd: command}
	return appendOrigin(diameter.Start(nil, h), local)
}

// appendBaseAnswer answers a DWR or DPR.
func appendBaseAnswer(b []byte, request diameter.Header, local diameter.Origin) []byte {
	start := len(b)
	request.Flags = 0
	b = diameter.AppendUint32(diameter.Start(b, request), diameter.ResultCodeAVP, uint32(diameter.Success))
	return diameter.Finish(appendOrigin(b, local), start)
}

func appendOrigin(b []byte, local diameter.Origin) []byte {
	b = diameter.AppendString(b, diameter.OriginHost, local.Host)
	return diameter.AppendString(b, diameter.OriginRealm, local.Realm)
}
