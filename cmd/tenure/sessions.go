package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/session"
)

func newSessions(g *global) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Show the live sessions of a namespace",
		Long: `Show the live sessions of a namespace by lease: which process a lease, and with it
everything that hangs on it, belongs to. It costs one read and changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			infos, err := g.sessions(cmd.Context())
			if err != nil {
				return err
			}
			return printSessions(cmd, output, g.namespace, infos)
		},
	}
	output.register(cmd)
	return cmd
}

func (g *global) sessions(ctx context.Context) ([]session.Info, error) {
	client, err := g.connect()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	infos, err := session.List(limited, client, g.namespace)
	if errors.Is(err, session.ErrConfig) {
		return nil, fail(exitUsage, "--namespace: %w", err)
	}
	if err != nil {
		return nil, g.explain(client, err)
	}
	return infos, nil
}

func printSessions(cmd *cobra.Command, output format, namespace string, infos []session.Info) error {
	if output == asJSON {
		type entry struct {
			Lease string `json:"lease"`
			session.Info
		}
		entries := make([]entry, len(infos))
		for i, info := range infos {
			entries[i] = entry{Lease: leaseID(info.Lease), Info: info}
		}
		return printJSON(cmd.OutOrStdout(), entries)
	}
	if len(infos) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "no sessions in %s\n", cell(namespace))
		return nil
	}
	rows := [][]string{{"LEASE", "NAME", "HOST", "PID", "STARTED", "VERSION"}}
	for _, info := range infos {
		rows = append(rows, []string{
			leaseID(info.Lease), info.Name, info.Host, number(info.PID), instant(info.Started), info.Version,
		})
	}
	return printTable(cmd.OutOrStdout(), rows)
}
