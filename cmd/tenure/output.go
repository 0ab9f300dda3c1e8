package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// format is how a list is printed. It is a flag.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "table|json" }

func (f *format) Set(value string) error {
	switch chosen := format(value); chosen {
	case asTable, asJSON:
		*f = chosen
		return nil
	default:
		return fmt.Errorf("must be %s or %s", asTable, asJSON)
	}
}

func (f *format) register(cmd *cobra.Command) {
	*f = asTable
	cmd.Flags().VarP(f, "output", "o", "how to print the list")
}

// printJSON prints what scripts read, indented for those who look at it.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printTable prints aligned columns. The first row is the heading.
func printTable(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, text := range row {
			cells[i] = cell(text)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t")) // the writer keeps its error for Flush
	}
	return table.Flush()
}

// cell makes a text safe to print: it comes from etcd, where anybody may have written it, and neither takes the
// table apart nor talks to the terminal.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// leaseID is a lease as etcd's own tools write it.
func leaseID(lease clientv3.LeaseID) string { return strconv.FormatInt(int64(lease), 16) }
