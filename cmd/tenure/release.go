package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
)

// forceWait is how long a forced release is waited for if nothing else is said: longer than a dead holder's lease
// lasts, with the TTLs that people use.
const forceWait = 30 * time.Second

// releaseCommand is one request to the holder of a lock.
type releaseCommand struct {
	*global
	at    address
	force bool
	wait  time.Duration
}

func newRelease(g *global) *cobra.Command {
	r := releaseCommand{global: g}
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Ask the holder of a lock to give it up, or take it away",
		Long: `Ask the holder of a lock to give it up. Whether and when it does is the holder's
decision; "tenure lock --yield" does. A lock that is only retained is given
back at once.

With --force the holder has no say: it is told that it has lost the lock, then
it has as long to stop as after any other loss, and then the lock is free. If it
is dead or cut off from etcd, the lock is free once its lease has run out. Others
who wait get the lock in their order.

Only a holder that uses Tenure in the same namespace can be asked. The user needs
the permission to write what hangs on the holder's lease.

Exit codes:
  0    the holder was asked, or has given the lock up, or nobody has it
  120  bad usage
  121  the holder still had it when the time for waiting passed
  123  etcd could not be reached
  125  something else went wrong, such as a holder that cannot be asked`,
		Example: `  tenure release migrate
  tenure release migrate --wait 1m
  tenure release migrate --force`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.set(args, cmd.Flags().Changed("wait")); err != nil {
				return err
			}
			return r.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&r.force, "force", false, "take the lock away")
	flags.DurationVar(&r.wait, "wait", 0, "wait for so long until this holder has given it up\n"+
		"(default: do not wait; with --force 30s)")
	r.at.register(cmd)
	return cmd
}

func (r *releaseCommand) set(args []string, waits bool) error {
	if err := r.at.set(args); err != nil {
		return err
	}
	switch {
	case waits && r.wait <= 0:
		return fail(exitUsage, "--wait must be longer than 0")
	case !waits && r.force:
		r.wait = forceWait
	}
	return nil
}

func (r *releaseCommand) run(cmd *cobra.Command) error {
	if _, err := keys.NewSpace(r.namespace); err != nil {
		return fail(exitUsage, "--namespace: %w", err)
	}
	client, err := r.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	entry, err := r.ask(cmd.Context(), client)
	if errors.Is(err, lock.ErrNoSession) {
		return fail(exitFailure, "lock %q: another program has it (lease %s), which cannot be asked", r.at.String(), leaseID(entry.Lease))
	}
	switch {
	case err != nil:
		return r.explain(client, err)
	case entry == nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "nobody holds %s\n", cell(r.at.String()))
		return nil
	case r.wait == 0:
		fmt.Fprintf(cmd.OutOrStdout(), "asked %s\n", describe(entry.Owner))
		return nil
	}
	if err := r.await(cmd.Context(), client, entry); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s has given it up\n", describe(entry.Owner))
	return nil
}

// ask makes the request and returns whom it was made to, nil if nobody holds the lock.
func (r *releaseCommand) ask(ctx context.Context, client *clientv3.Client) (*lock.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	entries, err := lock.Queue(ctx, client, r.namespace, r.at.String(), r.at.at()...)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	holder := entries[0]
	return &holder, holder.Request(ctx, client, r.namespace, operator())
}

// await waits until the holder has given the lock up. The request is there already, so repeating it costs little, and
// force makes it another one.
func (r *releaseCommand) await(ctx context.Context, client *clientv3.Client, holder *lock.Entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.wait, errWaited)
	defer cancel()
	wait := holder.AwaitRelease
	if r.force {
		wait = func(ctx context.Context, client *clientv3.Client) error {
			return holder.ForceRelease(ctx, client, r.namespace, operator())
		}
	}
	err := wait(ctx, client)
	if errors.Is(err, errWaited) {
		return fail(exitNotHad, "lock %q was not given up within %v by %s", r.at.String(), r.wait, describe(holder.Owner))
	}
	if err != nil {
		return r.explain(client, err)
	}
	return nil
}

// describe says who it is.
func describe(o lock.Owner) string {
	return fmt.Sprintf("%s (process %d on %s)", cell(o.Session), o.PID, cell(o.Host))
}

// operator is who uses the tool, for the log of whom it is used on.
func operator() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("tenure release by %s on %s", name, host)
}
