package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/internal/keys"
)

const (
	defaultEndpoint = "127.0.0.1:2379"
	defaultTimeout  = 5 * time.Second
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tenure",
		Short: "Run programs under a distributed lock on etcd, and see who holds what",
		// The tool says in one line what is wrong, itself.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var g global
	g.register(root)
	root.AddCommand(newQueue(&g), newRelease(&g), newSessions(&g), newVersion())
	root.AddCommand(unixCommands(&g)...)
	return root
}

// global is what every command that talks to etcd needs to know.
type global struct {
	endpoints                 []string
	namespace                 string
	caFile, certFile, keyFile string
	user, passwordFile        string
	timeout                   time.Duration
}

func (g *global) register(root *cobra.Command) {
	endpoints := []string{defaultEndpoint}
	if set := os.Getenv("TENURE_ENDPOINTS"); set != "" {
		endpoints = strings.Split(set, ",")
	}
	root.Flags().SortFlags = false
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringSliceVar(&g.endpoints, "endpoints", endpoints, "where etcd is; $TENURE_ENDPOINTS sets the default")
	flags.StringVar(&g.namespace, "namespace", keys.DefaultNamespace, "key prefix under which everything lives")
	flags.StringVar(&g.caFile, "cacert", "", "authorities that the servers' certificates are verified against (PEM)")
	flags.StringVar(&g.certFile, "cert", "", "client certificate (PEM)")
	flags.StringVar(&g.keyFile, "key", "", "key of the client certificate (PEM)")
	flags.StringVar(&g.user, "user", "", "etcd user; the password comes from --password-file or $TENURE_PASSWORD")
	flags.StringVar(&g.passwordFile, "password-file", "", "file that holds the password")
	flags.DurationVar(&g.timeout, "timeout", defaultTimeout, "how long to try to reach etcd")
}
