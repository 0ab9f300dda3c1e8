package chaos

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/internal/clock"
	"github.com/gotenure/tenure/leaderworker"
	"github.com/gotenure/tenure/session"
)

const (
	poolVariable   = "TENURE_CHAOS_POOL"
	workerVariable = "TENURE_CHAOS_WORKER"
	poolShards     = 12
	lookEvery      = 10 * time.Millisecond
)

// labour is a process that is a worker until SIGTERM. For each shard it says
// again and again that it owns it: with the time before it looked at Valid, by a
// clock that all processes of the machine share.
func labour(endpoints []string, pool, worker string) error {
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := session.New(ctx, client, session.WithTTL(ttl), session.WithName(worker))
	if err != nil {
		return err
	}
	err = leaderworker.Run(ctx, leaderworker.Config{
		Session: s, Name: pool, Worker: worker, Shards: leaderworker.Numbered(poolShards),
		Work: func(ctx context.Context, sh leaderworker.Shard) error {
			look := time.NewTicker(lookEvery)
			defer look.Stop()
			for ctx.Err() == nil {
				if now := clock.System.Now(); sh.Valid() {
					fmt.Printf("%d %d %d\n", sh.Number(), sh.Token(), now)
				}
				select {
				case <-look.C:
				case <-ctx.Done():
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	return s.Close(context.Background())
}

// A belief is what a worker has said of a shard under one token.
type belief struct {
	worker      string
	token       int64
	first, last time.Duration
}

// claims are what all workers have said, by shard and token.
type claims struct {
	mu      sync.Mutex
	beliefs map[int]map[int64]*belief
	wrong   []string
}

func (c *claims) hear(worker, line string) {
	var shard int
	var token int64
	var at time.Duration
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Sscan(line, &shard, &token, &at); err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("%s said %q", worker, line))
		return
	}
	if c.beliefs[shard] == nil {
		c.beliefs[shard] = map[int64]*belief{}
	}
	b := c.beliefs[shard][token]
	if b == nil {
		b = &belief{worker: worker, token: token, first: at}
		c.beliefs[shard][token] = b
	}
	if b.worker != worker {
		c.wrong = append(c.wrong, fmt.Sprintf("shard %d: %s and %s have the token %d", shard, worker, b.worker, token))
	}
	b.last = max(b.last, at)
}

// check looks for two who believed at once, and returns how many beliefs there
// were.
func (c *claims) check(t *testing.T) (count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.wrong)
	for shard, byToken := range c.beliefs {
		var all []*belief
		for _, b := range byToken {
			all = append(all, b)
		}
		slices.SortFunc(all, func(a, b *belief) int { return cmp.Compare(a.token, b.token) })
		for i := 1; i < len(all); i++ {
			require.Less(t, all[i-1].last, all[i].first, "shard %d: %+v and %+v", shard, *all[i-1], *all[i])
		}
		count += len(all)
	}
	return count
}

// A labourer is such a process.
type labourer struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // it has said everything
}

func startLabourer(t *testing.T, c *harness.Cluster, all *claims, pool, name string) *labourer {
	t.Helper()
	l := &labourer{name: name, cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	l.cmd.Env = append(os.Environ(), endpointsVariable+"="+strings.Join(c.Endpoints(), ","),
		poolVariable+"="+pool, workerVariable+"="+name)
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, l.cmd.Start())
	go func() {
		defer close(l.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			all.hear(name, lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // it may have ended
		<-l.done
		_ = l.cmd.Wait()
	})
	return l
}

func (l *labourer) signal(t *testing.T, s os.Signal) {
	t.Helper()
	require.NoError(t, l.cmd.Process.Signal(s))
}

// awaitPool waits until the pool is as it should be.
func awaitPool(t *testing.T, c *harness.Cluster, pool, what string, ok func(owned map[string]int, p leaderworker.Pool) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(harness.Context(t))
	defer cancel()
	var last leaderworker.Pool
	for range c.Client().Watch(ctx, "/tenure/pools/"+pool+"/", clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		p, err := leaderworker.Status(ctx, c.Client(), "", pool)
		if err != nil {
			continue // a member is down
		}
		owned := map[string]int{}
		for _, s := range p.Shards {
			owned[s.Owner]++
		}
		if last = p; ok(owned, p) {
			return
		}
	}
	require.FailNow(t, "it did not come to this", "%s: %+v", what, last)
}

// each tells whether the shards are evenly with these workers and nobody else.
func each(names ...string) func(map[string]int, leaderworker.Pool) bool {
	return func(owned map[string]int, _ leaderworker.Pool) bool {
		for _, name := range names {
			if owned[name] != poolShards/len(names) {
				return false
			}
		}
		return len(owned) == len(names)
	}
}

// Workers that are killed, stopped and told to go, and a member of etcd that is
// killed: no shard is ever owned by two, and each time others take over.
func TestShardsOfProcessesThatDieAreNeverOwnedTwice(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := alone(t)
	pool := harness.Name(t)
	all := &claims{beliefs: map[int]map[int64]*belief{}}
	workers := map[string]*labourer{}
	start := func(name string) { workers[name] = startLabourer(t, c, all, pool, name) }
	for _, name := range []string{"a", "b", "c"} {
		start(name)
	}
	var leader string
	awaitPool(t, c, pool, "three share", func(owned map[string]int, p leaderworker.Pool) bool {
		leader = p.Leader
		return leader != "" && each("a", "b", "c")(owned, p)
	})

	workers[leader].signal(t, syscall.SIGKILL) // the leader and a third of the workers at once
	rest := slices.DeleteFunc([]string{"a", "b", "c"}, func(name string) bool { return name == leader })
	awaitPool(t, c, pool, "two share", each(rest...))

	start("d")
	three := append(rest, "d")
	awaitPool(t, c, pool, "a new one gets its part", each(three...))

	stopped := rest[0]
	workers[stopped].signal(t, syscall.SIGSTOP)
	awaitPool(t, c, pool, "one is stopped", each(rest[1], "d"))
	workers[stopped].signal(t, syscall.SIGCONT)
	awaitPool(t, c, pool, "it goes on", each(three...))

	member, ok := c.Leader()
	require.True(t, ok)
	require.NoError(t, c.Kill(member))
	workers["d"].signal(t, syscall.SIGTERM)
	awaitPool(t, c, pool, "one leaves while etcd elects", each(rest...))
	require.NoError(t, c.Restart(harness.Context(t)))
	harness.Got(t, workers["d"].done)
	require.NoError(t, workers["d"].cmd.Wait(), "it left in order")

	for _, name := range rest {
		workers[name].signal(t, syscall.SIGTERM)
		harness.Got(t, workers[name].done)
	}
	require.Empty(t, c.Keys(t, "/tenure/pools/"+pool+"/owners/"))
	require.GreaterOrEqual(t, all.check(t), poolShards*2+8, "a quiet run proves nothing")
}
