package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A screen is where everything is told. On a terminal the table stays at the bottom and is drawn anew when it changes;
// elsewhere there are lines only, and the table is one of the things that are told.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	live  bool
	table []string // as drawn
}

func newScreen(out io.Writer) *screen {
	return &screen{out: out, start: time.Now(), live: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// begin sets the clock of the story to zero.
func (s *screen) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = time.Now()
}

// say tells what happens now.
func (s *screen) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.above(fmt.Sprintf("%6.2f  %-7s %s\n", time.Since(s.start).Seconds(), who, fmt.Sprintf(format, args...)))
}

// print writes a text as it is.
func (s *screen) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.above(fmt.Sprintf(format, args...))
}

// above writes a text and puts the table below it again.
func (s *screen) above(text string) {
	fmt.Fprint(s.out, s.erased(), text, strings.Join(s.table, ""))
}

// erased is what makes the table go.
func (s *screen) erased() string {
	if len(s.table) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", len(s.table))
}

// draw shows a table where it stays; only a live screen does. An empty one makes it go.
func (s *screen) draw(table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, cut(line, 79)) // a line that is broken would be two
	}
	if slices.Equal(lines, s.table) {
		return
	}
	erase := s.erased()
	s.table = lines
	fmt.Fprint(s.out, erase, strings.Join(s.table, ""))
}

// cut makes a line, which is in ASCII, fit.
func cut(line string, width int) string {
	if text := strings.TrimSuffix(line, "\n"); len(text) > width {
		return text[:width-1] + "~\n"
	}
	return line
}
