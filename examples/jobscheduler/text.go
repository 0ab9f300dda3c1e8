package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/gotenure/tenure/leaderworker"
)

func printTitle(out io.Writer, cfg settings) {
	where := "on an etcd inside this program; --endpoints takes a real one"
	if len(cfg.endpoints) > 0 {
		where = "on the etcd at " + strings.Join(cfg.endpoints, ", ")
	}
	fmt.Fprintf(out, `A job scheduler on three nodes, %s.

Every node has an etcd client and a session of its own, and does three things:
  jobs    are due every so often. Any node may run a tick, and one does.
  tasks   are put into a queue by the job "orders". Any node may do one.
  shards  are %d, say customers of a shop. A leader gives each node its part.

What there is to do is a YAML document in etcd, which all nodes follow:

%s
In the next %v the node that leads is cut off and mended, the document
changes, and a fourth node joins. Then it is checked that nothing was done
twice, left out or lost. Ctrl-C ends it at any time, in good order.

  TIME  NODE    WHAT HAPPENS
`, where, shardCount, indent(firstJobs), cfg.duration)
}

// conclude reads back what was done, and says what that proves.
func (p *play) conclude(ctx context.Context) error {
	e, err := p.gather(ctx)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "\nWho has done what:\n\n%s", p.board.table(leaderworker.Pool{}))
	fmt.Fprint(&out, "\nThe proof, from what the nodes have left in etcd:\n\n")
	failed := printChecks(&out, prove(e))
	if !p.complete {
		fmt.Fprint(&out, "\nIt ended too early for all of the story.\n")
	}
	fmt.Fprint(&out, `
What to look at next:

  go run ./examples/jobscheduler --endpoints http://localhost:2379 --node anna
      a node as a process of its own; others in other terminals. Kill one.
  examples/jobscheduler/node.go and work.go
      are the part that a program of yours would have
`)
	p.screen.print("%s", out.String())
	return failed
}
