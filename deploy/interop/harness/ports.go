package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are the loopback ports of one gygate.
type Ports struct{ Diameter, DiameterTLS, SIP, HTTP, Phones int }

// The ports are drawn below the range from which the system takes the local
// ports of outgoing connections (32768 and up on Linux): one of those could
// take a port between the draw and its use, or while gygate is restarted.
const (
	portFirst = 20_000
	portCount = 10_000
)

var (
	drawMu sync.Mutex
	drawn  = rand.IntN(portCount) // so that two programs side by side differ
)

// FreePorts draws ports nobody listens on, never the same one twice.
func FreePorts() (Ports, error) {
	drawMu.Lock()
	defer drawMu.Unlock()
	var p Ports
	for _, port := range []*int{&p.Diameter, &p.DiameterTLS, &p.SIP, &p.HTTP, &p.Phones} {
		n, err := freePort()
		if err != nil {
			return p, err
		}
		*port = n
	}
	return p, nil
}

func freePort() (int, error) {
	for range portCount {
		drawn++
		port := portFirst + drawn%portCount
		if free(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", portFirst, portFirst+portCount-1)
}

// free reports whether a port can be bound for TCP and UDP.
func free(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return u.Close() == nil
}
