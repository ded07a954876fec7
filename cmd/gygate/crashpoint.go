//go:build crashpoint

package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"gygate/diameter/gy"
	"gygate/diameter/peer"
)

// This binary is for `make crash` alone: it kills itself at a named point of a
// named transaction, and writes down what its credit-control client sends, so
// that the same requests can be repeated after the restart.
const (
	crashAtVariable  = "GYGATE_CRASH_AT"  // point:n, such as before-commit:2
	crashTapVariable = "GYGATE_CRASH_TAP" // file for the requests, one in hex a line
)

// crashHook kills the process with SIGKILL at the n-th passing of the point.
func crashHook() func(point string) {
	at, count, found := strings.Cut(os.Getenv(crashAtVariable), ":")
	left, err := strconv.ParseInt(count, 10, 64)
	if !found || err != nil {
		return nil
	}
	var passed atomic.Int64
	return func(point string) {
		if point == at && passed.Add(1) == left {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
}

type tap struct {
	gy.Doer
	file *os.File
}

func tapRequests(d gy.Doer) gy.Doer {
	path := os.Getenv(crashTapVariable)
	if path == "" {
		return d
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	return tap{d, file}
}

// Do writes the request down before it is sent.
func (t tap) Do(ctx context.Context, r peer.Request) (peer.Answer, error) {
	if _, err := fmt.Fprintln(t.file, hex.EncodeToString(r.Encode(nil, ""))); err != nil {
		return peer.Answer{}, err
	}
	return t.Doer.Do(ctx, r)
}
