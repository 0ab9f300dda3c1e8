package main

import (
	"errors"
	"fmt"
)

// The exit codes of the tool itself. They stay out of the way of what programs usually return, and agree with
// env, nohup and timeout from 125 on.
const (
	exitUsage       = 120
	exitNotHad      = 121
	exitLost        = 122
	exitUnreachable = 123
	exitFailure     = 125
	exitNotStarted  = 126
	exitNotFound    = 127
	exitSignal      = 128 // plus the signal
)

// errWaited ends the waiting of --wait.
var errWaited = errors.New("the time for waiting has passed")

// An exitError ends the tool with a code. A nil err ends it without a word.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func fail(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// codeOf returns the exit code for what a command returned. The commands give all of their errors a code; what has
// none is a complaint about the command line.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	return exitUsage
}

func messageOf(err error) string {
	if err == nil {
		return ""
	}
	if codeOf(err) == exitUsage {
		return err.Error() + ` (see "tenure --help")`
	}
	return err.Error()
}
