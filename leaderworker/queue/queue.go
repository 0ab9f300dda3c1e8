package queue

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/internal/keys"
	"github.com/gotenure/tenure/session"
)

// A Queue is a durable work queue in etcd. It is safe for concurrent use. Any
// number of processes put tasks in and work on them.
type Queue struct {
	session *session.Session
	name    string
	prefix  string

	limit, maxPayload, tries, maxActive int

	backoff   func(int) time.Duration
	retention time.Duration
	log       *slog.Logger

	commits *groupcommit.Committer // for all but consumers
	epoch   atomic.Pointer[session.Epoch]
	room    room
}

// New returns the queue of that name: a name of 1 to 1,024 bytes, whatever bytes
// they are. It does no I/O.
func New(s *session.Session, name string, opts ...Option) (*Queue, error) {
	if s == nil {
		return nil, fmt.Errorf("%w: the session is nil", ErrConfig)
	}
	prefix, err := keys.Space(s.Namespace()).Queue(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	q := &Queue{
		session: s, name: name, prefix: prefix,
		limit: DefaultLimit, maxPayload: DefaultMaxPayload, tries: DefaultTries,
		backoff: defaultBackoff, retention: DefaultRetention,
		log: slog.New(slog.DiscardHandler),
	}
	q.commits = groupcommit.New(s.Client(), q.begin)
	for _, opt := range opts {
		if err := opt(q); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if q.limit*q.maxPayload > MaxBytes {
		return nil, fmt.Errorf("%w: %d tasks of %d bytes could take up more than the %d bytes that a queue may",
			ErrConfig, q.limit, q.maxPayload, MaxBytes)
	}
	return q, nil
}

// begin makes the session's Close wait for a commit whose caller may have gone.
func (q *Queue) begin() (done func()) {
	if e := q.epoch.Load(); e != nil {
		return e.Work()
	}
	return func() {}
}

// Name returns the queue's name.
func (q *Queue) Name() string { return q.name }

func defaultBackoff(n int) time.Duration {
	d := min(5*time.Minute, time.Second<<min(n-1, 20))
	return d - d/5 + rand.N(d*2/5+1)
}

// Where things are, below the queue's prefix.
//
//	shards/<n>/todo/<place>   a task that is to be done, and how often it was tried
//	shards/<n>/claims/<id>    who has it, under a lease
//	tasks/<id>                the task itself
//	dead/<id>                 a dead letter
//	done/<id>                 a task that is done, for the retention
//	expiry/<time>-<id>        when that is over
//	dedupe/<key>              which task has a dedupe key
//	consumers/<lease>-<n>     a consumer that has room
//	slots/<n>                 one of so many claims, if they are bounded

func (q *Queue) shard(n int) string { return q.prefix + "shards/" + strconv.Itoa(n) + "/" }

func (q *Queue) todo(p place) string {
	n, _ := shardOf(p.id)
	return q.shard(n) + todo + p.String()
}

func (q *Queue) claim(id string) string {
	n, _ := shardOf(id)
	return q.shard(n) + claims + id
}

const (
	todo   = "todo/"
	claims = "claims/"
)

func (q *Queue) task(id string) string { return q.prefix + "tasks/" + id }

func (q *Queue) dead(id string) string { return q.prefix + "dead/" + id }

func (q *Queue) done(id string) string { return q.prefix + "done/" + id }

func (q *Queue) expiry(until time.Time, id string) string {
	return q.prefix + "expiry/" + expiryTime(until) + "-" + id
}

func expiryTime(t time.Time) string {
	return fmt.Sprintf("%013d", min(max(t.UnixMilli(), 0), lastMilli))
}

func (q *Queue) dedupe(key string) string {
	segment, _ := keys.Escape(key) // its length was checked
	return q.prefix + "dedupe/" + segment
}

func (q *Queue) consumers() string { return q.prefix + "consumers/" }

func (q *Queue) slot(n int) string { return q.prefix + "slots/" + strconv.Itoa(n) }

func absent(key string) clientv3.Cmp { return created(key, 0) }

func created(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", rev)
}

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// keep returns what records the outcome of a task for the retention, or forgets
// its dedupe key, if there is nothing to keep.
func (q *Queue) keep(id string, o outcome, result []byte) []clientv3.Op {
	if len(result) == 0 && o.Dedupe == "" {
		return nil
	}
	o.Until = o.At.Add(q.retention)
	return []clientv3.Op{
		clientv3.OpPut(q.done(id), header(o, result)),
		clientv3.OpPut(q.expiry(o.Until, id), o.Dedupe),
	}
}

func (q *Queue) explain(what string, err error) error {
	return fmt.Errorf("queue: %q: %s: %w", q.name, what, err)
}
