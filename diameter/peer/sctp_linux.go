package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ishidawataru/sctp"
)

// The library makes the sockets and knows SCTP's socket options. Its connections
// have no deadlines and block a thread each, so its sockets are taken over by the
// runtime's poller as files, which have both.

// sctpStreams is how many streams an association offers for sending and takes for
// receiving; all messages of ours use the first.
const sctpStreams = 16

// ListenSCTP listens on one or more addresses of this machine, "host/host:port".
// It fails with ErrNoSCTP when the kernel lacks the protocol.
func ListenSCTP(address string) (net.Listener, error) {
	local, err := sctp.ResolveSCTPAddr(TransportSCTP, address)
	if err != nil {
		return nil, fmt.Errorf("SCTP address %q: %w", address, err)
	}
	ln, err := sctp.ListenSCTPExt(TransportSCTP, local, sctp.InitMsg{NumOstreams: sctpStreams, MaxInstreams: sctpStreams})
	if err != nil {
		return nil, fmt.Errorf("SCTP listen on %s: %w", address, sctpError(err))
	}
	l := &sctpListener{addr: ln.Addr()}
	if l.file, err = pollable(ln, "sctp listener"); err != nil {
		_ = ln.Close() // never used
		return nil, fmt.Errorf("SCTP listen on %s: %w", address, err)
	}
	return l, nil
}

// checkSCTP returns ErrNoSCTP on a kernel without it.
func checkSCTP() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, syscall.IPPROTO_SCTP)
	if err != nil {
		return sctpError(err)
	}
	return syscall.Close(fd)
}

func sctpError(err error) error {
	for _, missing := range []error{syscall.EPROTONOSUPPORT, syscall.ESOCKTNOSUPPORT, syscall.EAFNOSUPPORT} {
		if errors.Is(err, missing) {
			return fmt.Errorf("%w (%w)", ErrNoSCTP, err)
		}
	}
	return err
}

// dialSCTP connects to a peer at one or more addresses, "host/host:port". The
// kernel ends the attempt at ctx's deadline; an earlier cancellation is noticed
// then.
func dialSCTP(ctx context.Context, address string) (net.Conn, error) {
	remote, err := sctp.ResolveSCTPAddr(TransportSCTP, address)
	if err != nil {
		return nil, fmt.Errorf("SCTP address %q: %w", address, err)
	}
	limit := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline), time.Millisecond) // zero would mean for ever
	}
	config := sctp.SocketConfig{
		InitMsg: sctp.InitMsg{NumOstreams: sctpStreams, MaxInstreams: sctpStreams},
		Control: func(_, _ string, c syscall.RawConn) error { return boundConnect(c, limit) },
	}
	association, err := config.Dial(TransportSCTP, nil, remote)
	if err != nil {
		return nil, sctpError(err)
	}
	nc, err := adopt(association)
	if err != nil {
		_ = association.Close() // given up
		return nil, err
	}
	return nc, nil
}

// boundConnect lets a blocking connect end after limit.
func boundConnect(c syscall.RawConn, limit time.Duration) error {
	var err error
	failed := c.Control(func(fd uintptr) {
		timeout := syscall.NsecToTimeval(limit.Nanoseconds())
		err = syscall.SetsockoptTimeval(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &timeout)
	})
	return errors.Join(failed, os.NewSyscallError("setsockopt", err))
}

// adopt makes a connection of an association of the library, which must not be
// used any more afterwards.
func adopt(a *sctp.SCTPConn) (*sctpConn, error) {
	local, remote := a.LocalAddr(), a.RemoteAddr()
	if local == nil || remote == nil {
		return nil, errors.New("the SCTP association is gone already")
	}
	if err := a.SetDefaultSentParam(&sctp.SndRcvInfo{PPID: networkOrder(payloadProtocol)}); err != nil {
		return nil, fmt.Errorf("SCTP payload protocol identifier: %w", err)
	}
	file, err := pollable(a, "sctp association")
	if err != nil {
		return nil, err
	}
	return &sctpConn{File: file, local: local, remote: remote}, nil
}

// networkOrder is v as a field that the kernel passes on as it lies in memory.
func networkOrder(v uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return binary.NativeEndian.Uint32(b[:])
}

// pollable hands the socket of s to the runtime's poller.
func pollable(s syscall.Conn, name string) (*os.File, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	socket := -1
	if err := raw.Control(func(fd uintptr) { socket = int(fd) }); err != nil {
		return nil, err
	}
	return pollableSocket(socket, name)
}

func pollableSocket(fd int, name string) (*os.File, error) {
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// sctpListener is a net.Listener.
type sctpListener struct {
	file *os.File
	addr net.Addr
}

// Accept waits for the next association.
func (l *sctpListener) Accept() (net.Conn, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failure error
	err = raw.Read(func(listening uintptr) bool {
		fd, _, failure = syscall.Accept4(int(listening), syscall.SOCK_CLOEXEC)
		return !errors.Is(failure, syscall.EAGAIN) && !errors.Is(failure, syscall.EINTR)
	})
	if err = errors.Join(err, os.NewSyscallError("accept", failure)); err != nil {
		return nil, err
	}
	nc, err := adopt(sctp.NewSCTPConn(fd, nil))
	if err != nil {
		_ = syscall.Close(fd) // given up
		// Only this association is lost: the server goes on.
		return nil, fmt.Errorf("%w: %w", syscall.ECONNABORTED, err)
	}
	return nc, nil
}

// Close ends listening; a waiting Accept returns.
func (l *sctpListener) Close() error { return l.file.Close() }

// Addr is the local address.
func (l *sctpListener) Addr() net.Addr { return l.addr }

// sctpConn is one association as a net.Conn. A Write is one user message; a Read
// returns one, or as much of it as there is room for and the rest next time.
type sctpConn struct {
	*os.File
	local, remote net.Addr
}

// LocalAddr holds all addresses of this end.
func (c *sctpConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr holds all addresses of the far end, the primary one first.
func (c *sctpConn) RemoteAddr() net.Addr { return c.remote }

// CloseWrite sends what is queued, then says that no more will come.
func (c *sctpConn) CloseWrite() error {
	return c.control("shutdown", func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_WR) })
}

// SetLinger(0) lets Close abort the association.
func (c *sctpConn) SetLinger(seconds int) error {
	return c.control("setsockopt", func(fd int) error {
		return syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: int32(seconds)})
	})
}

func (c *sctpConn) control(name string, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { failure = f(int(fd)) })
	return errors.Join(err, os.NewSyscallError(name, failure))
}
