//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A terminal is the one that the tool was started from, in the foreground. A group of its own would make the program
// a background job, which is stopped as soon as it reads; so it becomes the foreground job, as a shell would do it.
// Ctrl-C then reaches the program without the tool.
type terminal struct {
	fd    int
	group int // the tool's
}

// ownTerminal returns nil unless standard input is a terminal and the tool its foreground job.
func ownTerminal() *terminal {
	t := &terminal{fd: int(os.Stdin.Fd()), group: unix.Getpgrp()}
	if foreground, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err != nil || foreground != t.group {
		return nil
	}
	return t
}

// give has the program started in the foreground.
func (t *terminal) give(attr *syscall.SysProcAttr) {
	if t != nil {
		attr.Foreground, attr.Ctty = true, t.fd
	}
}

// takeBack puts the tool in the foreground again, for those that run with it in a script.
func (t *terminal) takeBack() {
	if t == nil {
		return
	}
	signal.Ignore(syscall.SIGTTOU) // what a background job gets that does this
	// It fails if the terminal is gone, and then there is nothing to take back.
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.group)
}
