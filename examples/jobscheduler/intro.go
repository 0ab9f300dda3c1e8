package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

func printTitle(out io.Writer, cfg config) {
	fmt.Fprint(out, "A job that must run on one node at a time\n\n")
	if len(cfg.endpoints) > 0 {
		fmt.Fprintf(out, "Connecting to the etcd at %s.\n\n", strings.Join(cfg.endpoints, ", "))
		return
	}
	fmt.Fprint(out, "Starting an etcd inside this program; --endpoints takes a real one.\n\n")
}

// printPlan says what is going to happen.
func printPlan(out io.Writer, cfg config, p plan, ttl time.Duration) {
	fmt.Fprintf(out, `Three nodes queue up for the lock %q. A job is due every %s;
only the node that holds the lock runs it. Each run writes a record to
etcd, in a transaction that fails once the lock has passed on. A token
comes with the lock, a number that is larger for each new holder.

What is going to happen:
  at  0.0 s  one node gets the lock and runs the job, two wait
  at %4.1f s  that node is cut off from etcd, like a cable pulled; its
             lease of %s runs out: it notices and stops by itself,
             and only then the next node gets the lock
  at ~%-4.1f s the cable is put back; what the node still wants to write
             is refused, and it queues up again, as the last
  at %4.1f s  everything ends, and the records are read back and checked
`, lockName, cfg.period, p.cut.Seconds(), ttl, (p.cut + ttl + p.pause).Seconds(), p.end.Seconds())
	if p.end > cfg.duration {
		fmt.Fprintf(out, "(Leases of %s need more time than the %s of --duration.)\n", ttl, cfg.duration)
	}
	fmt.Fprint(out, "Ctrl-C ends it at any time, in good order.\n\n")
	fmt.Fprint(out, "  TIME  NODE    WHAT HAPPENS\n")
}
