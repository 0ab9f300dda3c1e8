//go:build !unix

package main

import "github.com/spf13/cobra"

// unixCommands is empty here: without process groups and signals, lock could not keep its promises.
func unixCommands(*global) []*cobra.Command { return nil }
