package main

import (
	"context"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/lock"
)

func newQueue(g *global) *cobra.Command {
	var at address
	var output format
	cmd := &cobra.Command{
		Use:   "queue NAME",
		Short: "Show who holds a lock and who waits for it",
		Long: `Show who holds a lock and who waits for it, the holder first. SINCE is when they
queued up, by their own machine's clock. TOKEN is the fencing token that the
holder has and the waiters will have. It costs one read and changes nothing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := at.set(args); err != nil {
				return err
			}
			places, err := g.queue(cmd.Context(), &at)
			if err != nil {
				return err
			}
			return printQueue(cmd, output, at.String(), places)
		},
	}
	at.register(cmd)
	output.register(cmd)
	return cmd
}

// A place is a place in a lock's queue as it is printed.
type place struct {
	Role string `json:"role"` // holder or waiter
	// nil if another program put the key there
	*lock.Owner
	Foreign  string `json:"foreign,omitempty"` // what that program wrote into it
	Token    int64  `json:"token"`
	Lease    string `json:"lease"`
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
}

// queue reads the queue of a lock. Looking takes no lease, nor permission to write.
func (g *global) queue(ctx context.Context, at *address) ([]place, error) {
	if _, err := keys.NewSpace(g.namespace); err != nil {
		return nil, fail(exitUsage, "--namespace: %w", err)
	}
	client, err := g.connect()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	entries, err := lock.Queue(limited, client, g.namespace, at.String(), at.at()...)
	if err != nil {
		return nil, g.explain(client, err)
	}
	places := make([]place, len(entries))
	for i, entry := range entries {
		places[i] = newPlace(i, entry)
	}
	return places, nil
}

func newPlace(i int, entry lock.Entry) place {
	p := place{
		Role:     "waiter",
		Foreign:  string(entry.Foreign),
		Token:    entry.Token,
		Lease:    leaseID(entry.Lease),
		Key:      entry.Key,
		Revision: entry.Revision,
	}
	if i == 0 {
		p.Role = "holder"
	}
	if entry.Owner.Session != "" {
		p.Owner = &entry.Owner
	}
	return p
}

func printQueue(cmd *cobra.Command, output format, name string, places []place) error {
	if output == asJSON {
		return printJSON(cmd.OutOrStdout(), places)
	}
	if len(places) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "nobody holds %s\n", cell(name))
		return nil
	}
	rows := [][]string{{"ROLE", "NAME", "HOST", "PID", "SINCE", "TOKEN", "LEASE"}}
	for _, p := range places {
		owner := lock.Owner{Session: foreigner(p.Foreign)}
		if p.Owner != nil {
			owner = *p.Owner
		}
		rows = append(rows, []string{
			p.Role, owner.Session, owner.Host, number(owner.PID), instant(owner.Since),
			strconv.FormatInt(p.Token, 10), p.Lease,
		})
	}
	return printTable(cmd.OutOrStdout(), rows)
}

// foreigner names a program that is not one of ours by what it wrote into its key, if that can be shown.
func foreigner(value string) string {
	if value == "" || len(value) > 40 || !utf8.ValidString(value) {
		return "(another program)"
	}
	return "(another program: " + value + ")"
}
