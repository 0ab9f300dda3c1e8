package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gotenure/tenure"
	"github.com/gotenure/tenure/integration/harness"
	"github.com/gotenure/tenure/leaderworker/cron"
	"github.com/gotenure/tenure/leaderworker/queue"
	"github.com/gotenure/tenure/session"
)

const jobsVariable = "TENURE_CHAOS_JOBS"

// proof is where the processes write what they have done, under the guard of
// what allows them to.
const proof = "/proof/"

// doJobs is a process that runs a job and works on a queue until it is killed.
func doJobs(endpoints []string, name string) error {
	cfg, err := tenure.ClientConfig(endpoints)
	if err != nil {
		return err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := session.New(ctx, client, session.WithTTL(ttl))
	if err != nil {
		return err
	}
	write := func(ctx context.Context, kind, id string, token int64, guard []clientv3.Cmp) error {
		key := fmt.Sprintf("%s%s/%s/%s/%d", proof, name, kind, id, token)
		resp, err := client.Txn(ctx).If(guard...).Then(clientv3.OpPut(key, fmt.Sprint(os.Getpid()))).Commit()
		if err == nil && !resp.Succeeded {
			return errors.New("overtaken")
		}
		return err
	}
	work := func(ctx context.Context) {
		select { // long enough to be killed in the middle of it
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	jobs, err := cron.New(s, name)
	if err != nil {
		return err
	}
	often, err := cron.Every(cron.MinInterval)
	if err != nil {
		return err
	}
	err = jobs.Set(cron.Job{
		Name: "tick", Schedule: often, Overlap: cron.Allow, Missed: cron.All, History: cron.MaxHistory, Attempts: cron.MaxAttempts,
		Run: func(ctx context.Context, r *cron.Run) error {
			work(ctx)
			return write(ctx, "tick", r.ID(), r.Token(), r.Guard())
		},
	})
	if err != nil {
		return err
	}
	tasks, err := queue.New(s, name, queue.WithTries(queue.MaxTries))
	if err != nil {
		return err
	}
	fmt.Println("works")
	var group errgroup.Group
	group.Go(func() error { return jobs.Run(ctx) })
	group.Go(func() error {
		return tasks.Consume(ctx, func(ctx context.Context, t *queue.Task) error {
			work(ctx)
			return write(ctx, "task", t.ID(), t.Token(), t.Guard())
		}, queue.Workers(4), queue.Prefetch(4))
	})
	return group.Wait()
}

func startJobs(t *testing.T, c *harness.Cluster, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), endpointsVariable+"="+strings.Join(c.Endpoints(), ","), nameVariable+"="+name, jobsVariable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	line := make(chan string, 1)
	go func() {
		scanner := bufio.NewScanner(out)
		scanner.Scan()
		line <- scanner.Text()
	}()
	require.Equal(t, "works", harness.Got(t, line))
	return cmd
}

func TestEveryTickAndTaskIsAccountedForWhenProcessesAreKilled(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		t.Parallel() // most of it is waiting
		name := harness.Name(t)
		outcomes := make(map[string]cron.Record)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		runs := "/tenure/cron/" + strings.ReplaceAll(name, "/", "%2F") + "/runs/"
		records := c.Client().Watch(ctx, runs, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		<-records
		collected := make(chan struct{})
		go func() {
			defer close(collected)
			for resp := range records {
				for _, ev := range resp.Events {
					if string(ev.Kv.Key) == runs+"end" {
						return
					}
					var r cron.Record
					if ev.Type == clientv3.EventTypePut && json.Unmarshal(ev.Kv.Value, &r) == nil {
						outcomes[r.ID] = r
					}
				}
			}
		}()

		var processes []*exec.Cmd
		for range 3 {
			processes = append(processes, startJobs(t, c, name))
		}
		s := c.Session(t)
		q, err := queue.New(s, name)
		require.NoError(t, err)
		ids := make(map[string]bool)
		for kills := range 4 {
			for range 60 {
				id, err := q.Enqueue(harness.Context(t), nil)
				require.NoError(t, err)
				ids[id] = true
			}
			require.NoError(t, processes[kills%3].Process.Kill())
			processes[kills%3] = startJobs(t, c, name)
		}
		for left := 1; left > 0; {
			stats, err := q.Stats(harness.Context(t))
			require.NoError(t, err)
			require.Zero(t, stats.Dead)
			left = stats.Waiting + stats.Claimed + stats.Delayed
		}
		jobs, err := cron.New(s, name)
		require.NoError(t, err)
		require.NoError(t, jobs.Pause(harness.Context(t), "tick", "the end"))
		for active := 1; active > 0; {
			status, err := jobs.Status(harness.Context(t))
			require.NoError(t, err)
			active = len(status[0].Active)
		}
		last := c.Keys(t, proof+name+"/task/")
		// The watch may be behind what Status has read.
		_, err = c.Client().Put(harness.Context(t), runs+"end", "")
		require.NoError(t, err)
		harness.Got(t, collected)

		// Each task has left a proof, and no two of one claim.
		done := make(map[string]int)
		for _, key := range last {
			done[strings.Split(strings.TrimPrefix(key, proof+name+"/task/"), "/")[0]]++
		}
		require.Len(t, done, len(ids))
		for id := range ids {
			require.Positive(t, done[id], "task %s left no proof", id)
		}
		// Each tick between the first and the last has an outcome.
		require.Greater(t, len(outcomes), 10, "a quiet run proves nothing")
		again := 0
		for id, r := range outcomes {
			require.NotEqual(t, cron.Running, r.Outcome, id)
			require.NotEqual(t, cron.Lost, r.Outcome, id)
			if r.Attempt > 1 {
				again++
			}
		}
		ticks := make(map[string]bool)
		for _, key := range c.Keys(t, proof+name+"/tick/") {
			ticks[strings.Split(strings.TrimPrefix(key, proof+name+"/tick/"), "/")[0]] = true
		}
		for id, r := range outcomes {
			if r.Outcome == cron.Done {
				require.True(t, ticks[id], "tick %s is recorded as done and left no proof", id)
			}
		}
		t.Logf("%d tasks, %d ticks, %d of them taken over", len(ids), len(ticks), again)
	})
}
