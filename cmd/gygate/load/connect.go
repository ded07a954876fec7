package load

import (
	"context"
	"fmt"
	"net"
	"time"

	"gygate/diameter"
)

// ConnectError is why a charging system could not be reached, or did not let a
// connection in.
type ConnectError struct {
	Target string
	Host   string              // Origin-Host of the connection
	Local  string              // its address at this end, "" without a connection
	Code   diameter.ResultCode // of the CEA; 0: there was none
	Err    error
}

// Error tells what was tried and what came of it.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("%s as %s: %v", e.Target, e.Host, e.Err)
}

// Unwrap is the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// Probe opens every connection of a load and takes it down again, so that what is
// wrong with them is known before anything is prepared.
func Probe(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for n := range cfg.Connections {
		local := cfg.local(n)
		nc, err := connectFree(ctx, cfg.Target, local)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if err := disconnect(nc, local); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	return nil
}

const (
	// busyWait is how long a connection waits for another one of its Origin-Host to
	// end: a probe, or a single event, is soon through.
	busyWait  = time.Second
	busyRetry = 20 * time.Millisecond
)

// connectFree connects as soon as no other connection of the same Origin-Host stands
// in the way, if that is soon.
func connectFree(ctx context.Context, target string, local diameter.Origin) (net.Conn, error) {
	for until := time.Now().Add(busyWait); ; {
		nc, err := connect(target, local)
		if err == nil {
			return nc, nil
		}
		if err.Code != diameter.ElectionLost || time.Now().After(until) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyRetry):
		}
	}
}
