package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
	"github.com/gotenure/tenure/session"
)

// address says which lock is meant: by its name, or by the raw key prefix that other programs use for it.
type address struct {
	name  string
	atKey string
}

func (a *address) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.atKey, "at-key", "",
		"instead of NAME: raw key prefix of a lock shared with etcdctl or other etcd programs")
}

// set takes the name from the arguments.
func (a *address) set(args []string) error {
	switch {
	case len(args) > 1:
		return fail(exitUsage, "only one lock can be named, not %q", args)
	case len(args) == 1 && a.atKey != "":
		return fail(exitUsage, "name a lock or give --at-key, not both")
	case len(args) == 1:
		a.name = args[0]
		if _, err := keys.Escape(a.name); err != nil {
			return fail(exitUsage, "the lock cannot be named like this: %w", err)
		}
	case a.atKey == "":
		return fail(exitUsage, "name a lock")
	case strings.Trim(a.atKey, "/") == "":
		return fail(exitUsage, "--at-key %q is no key prefix", a.atKey)
	}
	return nil
}

// String is what the lock is called.
func (a *address) String() string {
	if a.atKey != "" {
		return a.atKey
	}
	return a.name
}

// at is where package lock finds the lock, if that is not by its name.
func (a *address) at() []lock.AddressOption {
	if a.atKey == "" {
		return nil
	}
	return []lock.AddressOption{lock.AtKey(a.atKey)}
}

func (a *address) mutex(s *session.Session) *lock.Mutex {
	if a.atKey == "" {
		return lock.NewMutex(s, a.name)
	}
	return lock.NewMutex(s, a.atKey, lock.AtKey(a.atKey))
}
