//go:build !linux

package localpg

import "syscall"

// dieWithOwner has no counterpart here; a server left over is stopped by the
// next Start in its folder.
func dieWithOwner(*syscall.SysProcAttr) {}
