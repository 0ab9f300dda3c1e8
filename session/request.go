package session

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/keys"
)

// Request is the name of the key that asks for one of this epoch's keys.
func (e *Epoch) Request(key string) string { return e.session.cfg.space.Request(e.lease, key) }

// A request is what somebody wants of this epoch, as it stands in etcd.
type request struct {
	keys.Request
	mod int64
}

// takeRequest takes in what has happened below the session's key.
func (e *Epoch) takeRequest(ev *clientv3.Event) {
	prefix := e.session.cfg.space.Requests(e.lease)
	if ev.Type == clientv3.EventTypeDelete {
		e.track.forget(string(ev.Kv.Key), prefix)
		return
	}
	r, ok := keys.ParseRequest(prefix, string(ev.Kv.Key), ev.Kv.Value)
	if !ok {
		e.session.log.Debug("what is no request stands where requests do", "key", string(ev.Kv.Key))
		return
	}
	e.session.log.Info("a key is wanted back", "key", r.Key, "revision", r.Revision, "force", r.Force, "by", r.By)
	if t := e.track.remember(request{r, ev.Kv.ModRevision}); t != nil && t.Asked != nil {
		t.Asked(r.Force)
	}
}

// remember keeps a request: the key may be tracked later only, if the request
// was faster than the answer to the key's creation. It returns the key's owner
// if it is tracked.
func (tr *tracker) remember(r request) *Tracked {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.requests == nil {
		tr.requests = make(map[string]request)
	}
	tr.requests[r.Key] = r
	if t := tr.keys[r.Key]; t != nil && t.Revision == r.Revision {
		return t
	}
	return nil
}

func (tr *tracker) forget(name, prefix string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	delete(tr.requests, name[min(len(prefix), len(name)):])
}

// pointless are the requests for keys that are not there, as far as is known.
func (tr *tracker) pointless() []request {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var all []request
	for _, r := range tr.requests {
		if t := tr.keys[r.Key]; t == nil || t.Revision != r.Revision {
			all = append(all, r)
		}
	}
	return all
}

// dropRequests deletes the requests whose keys are gone. Who gives a key up
// deletes the request with it, but may not have heard of it by then.
func (e *Epoch) dropRequests(ctx context.Context) error {
	for _, r := range e.track.pointless() {
		name := e.Request(r.Key)
		attempt, cancel := context.WithTimeout(ctx, e.attemptTimeout())
		_, err := e.session.client.Txn(attempt).
			If(
				clientv3.Compare(clientv3.CreateRevision(r.Key), "!=", r.Revision),
				clientv3.Compare(clientv3.ModRevision(name), "=", r.mod),
			).
			Then(clientv3.OpDelete(name)).
			Commit()
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
