//go:build !crashpoint

package main

import "gygate/diameter/gy"

// The released binary has no crash points; see crashpoint.go.

func crashHook() func(point string) { return nil }

func tapRequests(d gy.Doer) gy.Doer { return d }
