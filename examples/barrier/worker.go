package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/barrier"
	"github.com/gotenure/tenure/session"
)

// team are the workers at the beginning.
var team = []string{"ann", "ben", "cho", "dan"}

// cho dies in the second chapter.
const (
	mortal   = "cho"
	lastDeed = 1
)

// A job is what the workers share, apart from etcd: in real life, their configuration.
type job struct {
	name string
	dial func() (*clientv3.Client, error)
	ttl  time.Duration
	say  func(who, format string, args ...any)
}

// errDied ends a worker that plays dead.
var errDied = errors.New("died")

// work is a worker: a process of its own in real life.
func (j *job) work(ctx context.Context, name string) error {
	s, closeSession, err := open(ctx, j.dial, name, j.ttl)
	if err != nil {
		return err
	}
	defer closeSession()
	if err := barrier.New(s, j.name+" may begin").Wait(ctx); err != nil {
		return err
	}
	alive := slices.Clone(team)
	for chapter := 0; chapter < len(chapters); {
		err := j.phase(ctx, s, chapter, alive)
		var broken *barrier.BrokenError
		switch {
		case errors.Is(err, errDied):
			return nil
		case errors.As(err, &broken):
			// Everybody is told the same, so all go on with the same team.
			dead := broken.By.Session
			j.say(name, "is told that %s %s; chapter %d again", dead, broken.Reason, chapter+1)
			alive = slices.DeleteFunc(alive, func(n string) bool { return n == dead })
		case err != nil:
			return fmt.Errorf("chapter %d: %w", chapter+1, err)
		default:
			chapter++
		}
	}
	return nil
}

// phase does one chapter with those who are alive: each counts its share, and when all have, one merges.
func (j *job) phase(ctx context.Context, s *session.Session, chapter int, alive []string) error {
	entry, err := barrier.NewDouble(s, j.name, len(alive)).Enter(ctx)
	if err != nil {
		return err
	}
	if s.Name() == mortal && chapter == lastDeed {
		j.say(s.Name(), "DIES in the middle of chapter %d", chapter+1)
		_ = s.Client().Close() // nothing is heard of it any more
		return errDied
	}
	share := slices.Index(alive, s.Name())
	words := count(chapters[chapter], share, len(alive))
	// Each attempt has a number: what one that broke has left is not counted.
	parts := fmt.Sprintf("part/%d/", entry.Generation())
	if err := j.write(ctx, s.Client(), parts+s.Name(), words); err != nil {
		return err
	}
	j.say(s.Name(), "has counted share %d of %d of chapter %d", share+1, len(alive), chapter+1)
	if err := entry.Leave(ctx); err != nil {
		return err
	}
	merge := barrier.WithAction(func(ctx context.Context, _ int64) error { return j.merge(ctx, s, chapter, parts) })
	_, err = barrier.NewCyclic(s, j.name, len(alive), merge).Await(ctx)
	return err
}

// merge adds up what all have counted. It bears to be done again: each chapter has a sum of its own, and counts once.
func (j *job) merge(ctx context.Context, s *session.Session, chapter int, parts string) error {
	sum, err := j.read(ctx, s.Client(), parts)
	if err != nil {
		return err
	}
	if err := j.write(ctx, s.Client(), fmt.Sprintf("total/%d", chapter), sum); err != nil {
		return err
	}
	j.say(s.Name(), "has merged chapter %d for all", chapter+1)
	return barrier.NewLatch(s, j.name+" is done").CountDown(ctx, fmt.Sprint(chapter))
}

func (j *job) key(name string) string { return "/words/" + j.name + "/" + name }

func (j *job) write(ctx context.Context, client *clientv3.Client, name string, words map[string]int) error {
	text, err := json.Marshal(words)
	if err != nil {
		return err
	}
	_, err = client.Put(ctx, j.key(name), string(text))
	return err
}

// read adds up what is stored below a name.
func (j *job) read(ctx context.Context, client *clientv3.Client, name string) (map[string]int, error) {
	resp, err := client.Get(ctx, j.key(name), clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	sum := map[string]int{}
	for _, kv := range resp.Kvs {
		var words map[string]int
		if err := json.Unmarshal(kv.Value, &words); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		for word, n := range words {
			sum[word] += n
		}
	}
	return sum, nil
}
