//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"github.com/gotenure/tenure/lock"
)

// A program is what runs under the lock, in a process group of its own.
type program struct {
	pid      int // and the group's id
	ended    chan exit
	terminal *terminal // nil if it was not given one
}

// exit is how a program ended.
type exit struct {
	status syscall.WaitStatus
	err    error // the system did not tell
}

// environment is the tool's own and what the program needs to know of its lock.
func environment(name string, held *lock.Held) []string {
	key, revision := held.Key()
	return append(os.Environ(),
		"TENURE_LOCK="+name,
		"TENURE_TOKEN="+strconv.FormatInt(held.Token(), 10),
		"TENURE_KEY="+key,
		"TENURE_REVISION="+strconv.FormatInt(revision, 10),
	)
}

// start starts a program with the tool's standard files.
func start(path string, argv, env []string) (*program, error) {
	p := &program{ended: make(chan exit, 1), terminal: ownTerminal()}
	started := make(chan error)
	go func() {
		// A program that is tied to the tool's life is in truth tied to the thread that has started it. Only the
		// goroutine that waits for the program has that thread, and it ends with the program.
		runtime.LockOSThread()
		cmd := &exec.Cmd{
			Path: path, Args: argv, Env: env,
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		}
		tie(cmd.SysProcAttr)
		p.terminal.give(cmd.SysProcAttr)
		if err := cmd.Start(); err != nil {
			p.terminal.takeBack() // it may have got that far
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.ended <- p.wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// wait waits for the program's end. Package os does not tell of a program that was only stopped.
func (p *program) wait() exit {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return exit{err: err}
		case !status.Stopped():
			p.terminal.takeBack()
			return exit{status: status}
		case p.terminal != nil && status.StopSignal() == syscall.SIGTSTP:
			// Ctrl-Z. No shell waits at this terminal that could continue it, and the lock would stay taken.
			p.signal(syscall.SIGCONT)
		}
	}
}

// signal sends a signal to the whole group. It fails if nobody is left in it, which is as well.
func (p *program) signal(sig syscall.Signal) { _ = syscall.Kill(-p.pid, sig) }
