package election

import (
	"cmp"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// An Observer is an election as anybody can look at it, without a session and
// without taking part. It is cheap, has no state of its own and is safe for
// concurrent use.
type Observer struct {
	client  *clientv3.Client
	name    string
	prefix  string
	about   string
	err     error // why the election cannot be looked at
	explain func(error) error
}

// NewObserver returns an observer of the election of that name. The namespace
// "" is the default one. It does no I/O; a name or a namespace that cannot be
// used makes every method return an error.
func NewObserver(client *clientv3.Client, namespace, name string, at ...AddressOption) *Observer {
	space, err := keys.NewSpace(cmp.Or(namespace, keys.DefaultNamespace))
	o := resolve(space, name, at)
	if err != nil {
		o.err = fmt.Errorf("%w: %w", ErrName, err)
	}
	return &Observer{client: client, name: name, prefix: o.prefix, about: o.about, err: o.err, explain: explainer(name)}
}

// A Leader is who leads at some revision.
type Leader struct {
	// Token is the term's fencing token: the create revision of Key.
	Token int64
	Value []byte // what it proclaims
	Key   string
	Lease clientv3.LeaseID
}

// Leader returns who leads at present, and ErrNoLeader if nobody does. It costs
// one linearizable read. Whoever wants to know more of the leader finds it first
// among the Candidates; whoever asks again and again should Observe.
func (o *Observer) Leader(ctx context.Context) (Leader, error) {
	if o.err != nil {
		return Leader{}, o.err
	}
	resp, err := o.client.Get(ctx, o.prefix, clientv3.WithFirstCreate()...)
	if err != nil {
		return Leader{}, o.explain(fmt.Errorf("who leads: %w", err))
	}
	if len(resp.Kvs) == 0 {
		return Leader{}, fmt.Errorf("%w: %q", ErrNoLeader, o.name)
	}
	kv := resp.Kvs[0]
	return Leader{Token: kv.CreateRevision, Value: kv.Value, Key: string(kv.Key), Lease: clientv3.LeaseID(kv.Lease)}, nil
}
