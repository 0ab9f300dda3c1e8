//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

func unixCommands(g *global) []*cobra.Command { return []*cobra.Command{newLock(g)} }

// lockCommand is one run of a program under a lock.
type lockCommand struct {
	*global
	address
	try      bool
	wait     time.Duration // 0: for as long as it takes
	ttl      time.Duration
	grace    time.Duration
	graceSet bool
	yield    bool
	session  string // its name, "" for the default
	argv     []string
}

func newLock(g *global) *cobra.Command {
	l := lockCommand{global: g}
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- COMMAND [ARGS...]",
		Short: "Run a program while holding a lock",
		Long: `Run a program while holding a lock.

The program gets a process group of its own, and signals to the tool are passed
on to it. The lock is given back once the program has ended. If the lock cannot
be kept, the group gets SIGTERM, and SIGKILL after the grace, so that it has
ended before etcd can give the lock to somebody else; a longer grace begins
earlier. If the tool itself is stopped (SIGSTOP) it cannot do that: let the
program use its fencing token where it matters.

The program finds TENURE_LOCK, TENURE_TOKEN (the fencing token), TENURE_KEY and
TENURE_REVISION in its environment.

Exit codes: the program's own, 128+n if signal n ended it, or
  120  bad usage
  121  the lock was not had (--try, --wait)
  122  the lock was lost, or could not be kept, while the program ran
  123  etcd could not be reached
  125  something else went wrong
  126  the program could not be started
  127  the program was not found`,
		Example: `  tenure lock nightly-report --try -- ./report.sh
  tenure lock migrate --wait 1m --ttl 30s --grace 8s -- ./migrate up`,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.graceSet = cmd.Flags().Changed("grace")
			if err := l.set(cmd.ArgsLenAtDash(), args, cmd.Flags().Changed("wait")); err != nil {
				return err
			}
			return l.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&l.try, "try", false, "give up at once if the lock is taken")
	flags.DurationVar(&l.wait, "wait", 0, "give up if the lock is not had within this time (default: wait for ever)")
	flags.DurationVar(&l.ttl, "ttl", session.DefaultTTL, "how long the lock stays taken if this machine dies; whole seconds")
	flags.DurationVar(&l.grace, "grace", 0, "time between SIGTERM and SIGKILL when the lock cannot be kept,\n"+
		"at most a third of the TTL (default: a twentieth of it, from 100ms to 500ms)")
	flags.BoolVar(&l.yield, "yield", false, "send SIGTERM to the program when somebody asks for the lock (tenure release)")
	flags.StringVar(&l.session, "name", "", "what to be called in the lock's queue (default: host and process id)")
	l.register(cmd)
	cmd.MarkFlagsMutuallyExclusive("try", "wait")
	return cmd
}

// register is the address's: both of the embedded structs have one.
func (l *lockCommand) register(cmd *cobra.Command) { l.address.register(cmd) }

// set checks what the command line says. dash is how many arguments stand before the "--".
func (l *lockCommand) set(dash int, args []string, waits bool) error {
	if dash < 0 || dash == len(args) {
		return fail(exitUsage, `say what to run: tenure lock NAME -- COMMAND [ARGS...]`)
	}
	if err := l.address.set(args[:dash]); err != nil {
		return err
	}
	l.argv = args[dash:]
	switch {
	case waits && l.wait <= 0:
		return fail(exitUsage, "--wait must be longer than 0; to not wait at all, use --try")
	case l.graceSet && l.grace < 0:
		return fail(exitUsage, "--grace must not be negative")
	case l.grace > longestGrace(l.ttl):
		return fail(exitUsage, "--grace %v is more than a third of the TTL; a program that needs so long to end needs --ttl %v",
			l.grace, 3*l.grace)
	}
	return nil
}

func (l *lockCommand) run(ctx context.Context) error {
	path, err := find(l.argv[0]) // nobody should wait for a lock to be told of a typing mistake
	if err != nil {
		return err
	}
	signals := listen()
	defer signals.stop()

	s, closeSession, err := l.open(ctx, signals)
	if err != nil {
		return err
	}
	defer closeSession()
	mutex := l.mutex(s)
	held, err := l.acquire(ctx, signals, s, mutex)
	if err != nil {
		return err
	}
	epoch, err := s.Epoch(held.Context())
	if err != nil { // the lock was lost before anything began
		return fail(exitLost, "lock %q was lost before the program was started: %w", l.String(), err)
	}
	program, err := start(path, l.argv, environment(l.String(), held))
	if err != nil {
		return errors.Join(fail(exitNotStarted, "%w", err), l.unlock(held))
	}
	end := supervise(program, held, l.plan(epoch.TTL()), signals.c)
	return l.verdict(end, l.unlock(held))
}

// find looks a program up as a shell does.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fail(exitNotFound, "%w", err)
	case err != nil:
		return "", fail(exitNotStarted, "%w", err)
	}
	return path, nil
}

// unlock gives the lock back. It bounds the time, because the program has ended and somebody waits for its exit code.
func (l *lockCommand) unlock(held *lock.Held) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	return held.Unlock(ctx)
}

// verdict is what the tool returns when the program has ended.
func (l *lockCommand) verdict(end ending, unlocked error) error {
	switch {
	case end.told != nil:
		return fail(exitLost, "lock %q could not be kept (%w): the program was told to stop and %s",
			l.String(), reason(end.told), end.how())
	case errors.Is(unlocked, lock.ErrLost), unlocked != nil && !end.kept:
		// The key was gone, or nobody knows since when: the program may not have been alone.
		return fail(exitLost, "lock %q was lost while the program ran (%w), which %s", l.String(), reason(unlocked), end.how())
	case end.err != nil:
		return fail(exitFailure, "waiting for the program: %w", end.err)
	}
	code := end.code()
	if unlocked != nil { // the program has worked under the lock; only its successor has to be patient
		return &exitError{code: code, err: fmt.Errorf("lock %q is free once its lease has run out: %w", l.String(), unlocked)}
	}
	if code == 0 {
		return nil
	}
	return &exitError{code: code}
}

// reason is the part of a loss that says something new to whoever knows which lock it is about.
func reason(err error) error {
	if loss, ok := errors.AsType[*session.LossError](err); ok {
		return loss
	}
	if deleted, ok := errors.AsType[*session.KeyError](err); ok {
		return deleted
	}
	return err
}
