//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// forwarded are the signals that are meant for the program as much as for the tool.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// signals are the signals that the tool gets: before there is a program they end the tool, later they are passed on.
type signals struct{ c chan os.Signal }

func listen() *signals {
	s := &signals{c: make(chan os.Signal, 16)}
	for _, sig := range forwarded {
		// nohup, and a shell that starts something in the background, have some signals ignored; so it shall stay.
		if !signal.Ignored(sig) {
			signal.Notify(s.c, sig)
		}
	}
	// Ctrl-Z would stop the tool, but not the program, and the lock would run out. It is taken and dropped.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTSTP)
	return s
}

func (s *signals) stop() { signal.Stop(s.c) }

// end returns a context that ends with the first signal. After done, which must be called, signals are left to
// whoever listens next, and so is that one: it may have come when its context was no longer looked at.
func (s *signals) end(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var got os.Signal
	go func() {
		defer close(over)
		select {
		case got = <-s.c:
			cancel(signalError{got.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-over
		if got != nil {
			select {
			case s.c <- got:
			default: // there are plenty
			}
		}
	}
}

// A signalError is the cause of a context that a signal has ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return e.signal.String() }

// interrupted is what the tool returns when a signal ended it before there was a program.
func interrupted(ctx context.Context, doing string) error {
	cause := context.Cause(ctx)
	code := exitFailure
	if sig, ok := errors.AsType[signalError](cause); ok {
		code = exitSignal + int(sig.signal)
	}
	return &exitError{code: code, err: fmt.Errorf("ended by a signal while %s: %w", doing, cause)}
}
