package leasekey

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/groupcommit"
	"github.com/gotenure/tenure/session"
)

const (
	// AttemptTimeout bounds one transaction. One that is repeated elsewhere is
	// cheap; one that waits for a dead connection is not.
	AttemptTimeout = 2 * time.Second

	// discardGrace is how long an unsuccessful acquisition waits for its own
	// clean-up before it leaves it to the background.
	discardGrace = 250 * time.Millisecond
)

// Pause waits before the next attempt, see groupcommit.Pause.
func Pause(ctx context.Context, failures int) { groupcommit.Pause(ctx, failures) }

// Commit commits a transaction, together with others of the session that are
// under way at the same time and do not touch its keys. The time limit is that
// of one attempt.
func Commit(ctx context.Context, epoch *session.Epoch, txn groupcommit.Txn) (groupcommit.Result, error) {
	type committerKey struct{}
	s := epoch.Session()
	value, letGo := s.Share(committerKey{}, func() any { return groupcommit.New(s.Client(), epoch.Work) })
	defer letGo()
	return value.(*groupcommit.Committer).Do(ctx, txn)
}

// Begin starts a transaction with the time limit of one attempt. The caller
// calls cancel after Commit.
//
// It is a timer here and not a deadline of the context, which would travel
// with the request and be kept a second time, by etcd: a fortieth of the
// whole cost of a commit.
func Begin(ctx context.Context, client *clientv3.Client) (txn clientv3.Txn, cancel func()) {
	ctx, stop := context.WithCancel(ctx)
	timer := time.AfterFunc(AttemptTimeout, stop)
	return client.Txn(ctx), func() {
		timer.Stop()
		stop()
	}
}
