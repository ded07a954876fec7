//go:build !linux

package peer

import (
	"context"
	"net"
)

// ListenSCTP fails with ErrNoSCTP: only Linux is served.
func ListenSCTP(string) (net.Listener, error) { return nil, ErrNoSCTP }

func checkSCTP() error { return ErrNoSCTP }

func dialSCTP(context.Context, string) (net.Conn, error) { return nil, ErrNoSCTP }
