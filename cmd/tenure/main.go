package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the whole tool: it returns the exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	if message := messageOf(err); message != "" {
		fmt.Fprintln(os.Stderr, "tenure: "+oneLine(message))
	}
	return codeOf(err)
}

// oneLine keeps an error on one line, whatever it was joined from.
func oneLine(message string) string {
	return strings.Join(strings.FieldsFunc(message, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
