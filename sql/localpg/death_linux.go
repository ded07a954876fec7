package localpg

import "syscall"

// dieWithOwner asks the kernel for a fast shutdown of the server (SIGINT) when
// the thread that starts it ends; Start keeps that thread for the server's life.
func dieWithOwner(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGINT }
