package main

import (
	"errors"
	"fmt"
)

// Exit codes, for scripts. They stand in the help of the root command.
const (
	exitOK          = 0
	exitRefused     = 1   // the books are violated, a call or request was refused, a demo case differs
	exitUsage       = 2   // the command line is wrong
	exitUnreachable = 3   // database, peer or phone cannot be reached; a port is taken
	exitConfig      = 4   // the configuration is faulty
	exitInterrupted = 130 // ended by Ctrl-C before it was done
)

const exitCodesHelp = `Exit codes:
  0    done
  1    violated or refused: the books do not add up, a call was not connected, an account is unknown, …
  2    the command line is wrong
  3    the database, a peer or a phone cannot be reached, or a port is taken
  4    the configuration is faulty
  130  interrupted`

// exitError is an error that knows the exit code it deserves.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitWith gives err an exit code; nil stays nil, and a code given earlier stays.
func exitWith(code int, err error) error {
	var known *exitError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &exitError{code, err}
}

func refused(format string, args ...any) error {
	return &exitError{exitRefused, fmt.Errorf(format, args...)}
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// codeOf is the exit code of what a command returned. Errors without a code come
// from cobra itself: an unknown command or flag.
func codeOf(err error) int {
	if err == nil {
		return exitOK
	}
	var known *exitError
	if errors.As(err, &known) {
		return known.code
	}
	return exitUsage
}
