//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gotenure/tenure/lock"
)

// errNotice is why a program is told to stop before its lock is lost.
var errNotice = errors.New("etcd has not renewed the lease in time, and the program needs its grace")

// lookEvery bounds the naps between two looks at what remains of the lease.
const lookEvery = 100 * time.Millisecond

// An ending is how a program under a lock has ended.
type ending struct {
	exit
	told   error // why it was told to stop, nil if it was not
	killed bool  // it did not follow in time
	kept   bool  // the lock was certainly held until the program had ended
}

// supervise waits for the program's end, passes signals on to it, and ends it when the lock cannot be kept.
func supervise(p *program, held *lock.Held, plan plan, signals <-chan os.Signal) (end ending) {
	lost := held.Context().Done()
	var requested <-chan struct{}
	if plan.yield {
		requested = held.Requested()
	}
	var kill <-chan time.Time
	terminate := func() {
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGCONT) // one that is stopped would not notice
	}
	tell := func(cause error) {
		end.told, lost = cause, nil
		terminate()
		grace := plan.grace
		if errors.Is(cause, lock.ErrForced) {
			grace = plan.forced
		}
		kill = time.After(grace)
	}

	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case end.exit = <-p.ended:
			end.kept = held.Valid()
			if end.told != nil || !end.kept {
				p.signal(syscall.SIGKILL) // what it has left behind in its group
			}
			return end
		case sig := <-signals:
			p.signal(sig.(syscall.Signal))
		case <-requested: // the lock is kept, so there is time
			requested = nil
			terminate()
		case <-lost:
			tell(context.Cause(held.Context()))
		case <-look.C:
			switch left := held.Remaining() - plan.notice; {
			case end.told != nil || plan.notice == 0: // the end of the context says the rest
			case left <= 0:
				tell(errNotice)
			default:
				look.Reset(min(left, lookEvery))
			}
		case <-kill:
			end.killed = true
			p.signal(syscall.SIGKILL)
		}
	}
}

// code is the exit code that a shell would show.
func (e *ending) code() int {
	if e.status.Signaled() {
		return exitSignal + int(e.status.Signal())
	}
	return e.status.ExitStatus()
}

func (e *ending) how() string {
	switch {
	case e.killed:
		return "was killed"
	case e.status.Signaled():
		return fmt.Sprintf("was ended by signal %d (%v)", int(e.status.Signal()), e.status.Signal())
	default:
		return fmt.Sprintf("ended with code %d", e.status.ExitStatus())
	}
}
