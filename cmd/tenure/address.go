package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
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

func (a *address) options() []lock.Option {
	if a.atKey == "" {
		return nil
	}
	return []lock.Option{lock.AtKey(a.atKey)}
}
