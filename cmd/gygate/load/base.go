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
func connect(target string, local diameter.Origin) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", target, connectTimeout)
	if err != nil {
		return nil, err
	}
	if err := exchangeCapabilities(nc, local); err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s as %s: %w", target, local.Host, err)
	}
	return nc, nil
}

func exchangeCapabilities(nc net.Conn, local diameter.Origin) error {
	if err := nc.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(nc.LocalAddr().String())
	if err != nil {
		return err
	}
	b := startBase(diameter.CmdCapabilitiesExchange, local)
	b = diameter.AppendAddress(b, diameter.HostIPAddress, address.Addr().Unmap())
	b = diameter.AppendUint32(b, diameter.VendorID, 0)
	b = diameter.AppendString(b, diameter.ProductName, productName)
	b = diameter.AppendUint32(b, diameter.OriginStateID, local.StateID)
	b = diameter.AppendUint32(b, diameter.AuthApplicationID, diameter.AppCreditControl)
	if _, err := nc.Write(diameter.Finish(b, 0)); err != nil {
		return err
	}
	cea, err := diameter.ReadMessage(nc)
	if err != nil {
		return fmt.Errorf("no CEA: %w", err)
	}
	if code := cea.ResultCode(); code != diameter.Success {
		text, _ := cea.Find(diameter.ErrorMessage)
		return fmt.Errorf("CEA with Result-Code %d %s", code, text.Text())
	}
	return nil
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
