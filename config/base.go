package config

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	readTimeout  = 2 * time.Second // of one attempt
	writeTimeout = 3 * time.Second

	// Comparisons and the operations of one level share etcd's limit of 128:
	// the larger of the two counts, and what is left is for the level below.
	maxTxnOps       = 128
	maxCompared     = 100 // fields that are compared one by one
	fixedCompared   = 4   // the document or the prefix, head, stage, spare
	operationsLevel = maxCompared + fixedCompared
	operationsBelow = maxTxnOps - operationsLevel
)

// head is the key that every write through Tenure changes, and compares: it
// orders the writers, and it tells a writer that got no answer what became of
// its write.
type head struct {
	N  int64  `json:"n"`  // counts the changes
	ID string `json:"id"` // of the last one
}

// base is what a write is computed from, and compared with.
type base struct {
	content
	docRev   int64              // mod revision of the document
	fields   []*mvccpb.KeyValue // of the fields' keys
	at       int64              // the store's revision at which all this was read
	head     head
	headRev  int64
	stageRev int64
}

// readBase reads everything at one revision, from a quorum. It tries until ctx
// ends.
func (v *Value[T]) readBase(ctx context.Context) (base, error) {
	for failures := 1; ; failures++ {
		b, err := v.readBaseOnce(ctx)
		if err == nil {
			return b, nil
		}
		if refused(err) {
			return base{}, fmt.Errorf("config: %q: read: %w", v.name, err)
		}
		backoff(ctx, failures)
		if ended := v.ended(ctx); ended != nil {
			return base{}, fmt.Errorf("config: %q: read: %w (last attempt: %w)", v.name, ended, err)
		}
	}
}

func (v *Value[T]) readBaseOnce(ctx context.Context) (base, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := v.client.Txn(ctx).Then(v.place.reads()...).Commit()
	if err != nil {
		return base{}, err
	}
	var kvs [3][]*mvccpb.KeyValue
	for i := range kvs {
		kvs[i] = resp.Responses[i].GetResponseRange().Kvs
	}
	b := base{content: contentOf(v.place, slices.Concat(kvs[0], kvs[1])), at: resp.Header.Revision}
	switch {
	case v.place.doc == "":
		b.fields = kvs[0]
	case len(kvs[0]) == 1:
		b.docRev = kvs[0][0].ModRevision
	}
	if len(kvs[1]) == 1 {
		b.stageRev = kvs[1][0].ModRevision
	}
	if len(kvs[2]) == 1 {
		b.headRev = kvs[2][0].ModRevision
		if v.place.showsHead() {
			b.revision = max(b.revision, b.headRev)
		}
		if err := json.Unmarshal(kvs[2][0].Value, &b.head); err != nil {
			// Somebody has written nonsense there. It has a revision all the
			// same, which is what matters.
			b.head = head{N: b.headRev}
		}
	}
	return b, nil
}

// same tells whether nothing has changed from b to c but what Tenure itself
// writes to find out about a write.
func (b base) same(c base) bool {
	if b.docRev != c.docRev || b.head.N != c.head.N || len(b.fields) != len(c.fields) {
		return false
	}
	for i, kv := range b.fields {
		if string(kv.Key) != string(c.fields[i].Key) || kv.ModRevision != c.fields[i].ModRevision {
			return false
		}
	}
	return true
}

// unchanged are the comparisons that hold only while etcd has what was read:
// the document, or every field and no other; and the head.
func (b base) unchanged(p place) []clientv3.Cmp {
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(p.head), "=", b.headRev)}
	if p.doc != "" {
		return append(cmps, clientv3.Compare(clientv3.ModRevision(p.doc), "=", b.docRev))
	}
	// Nothing below the prefix was written since; and what was there still is,
	// which takes a comparison for each key. Tenure's own deletions change the
	// head, so those beyond the limit are only exposed to other programs.
	cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(p.fields).WithPrefix(), "<", b.at+1))
	for _, kv := range b.fields[:min(len(b.fields), maxCompared)] {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision))
	}
	return cmps
}

// writes are the operations that turn what was read into a body.
func (b base) writes(p place, next body) []clientv3.Op {
	if p.doc != "" {
		if next.Doc == nil {
			return []clientv3.Op{clientv3.OpDelete(p.doc)}
		}
		return []clientv3.Op{clientv3.OpPut(p.doc, *next.Doc)}
	}
	var ops []clientv3.Op
	for key, text := range next.Fields {
		if was, ok := b.Fields[key]; !ok || was != text {
			ops = append(ops, clientv3.OpPut(p.fields+key, text))
		}
	}
	for key := range b.Fields {
		if _, ok := next.Fields[key]; !ok {
			ops = append(ops, clientv3.OpDelete(p.fields+key))
		}
	}
	return ops
}

// nested puts operations that are too many for one level into levels below. It
// is still one transaction, at one revision.
func nested(ops []clientv3.Op) ([]clientv3.Op, error) {
	if len(ops) <= operationsLevel {
		return ops, nil
	}
	if len(ops) > operationsLevel*operationsBelow {
		return nil, fmt.Errorf("%d keys change at once, and etcd takes %d", len(ops), operationsLevel*operationsBelow)
	}
	var out []clientv3.Op
	for len(ops) > 0 {
		n := min(operationsBelow, len(ops))
		out = append(out, clientv3.OpTxn(nil, ops[:n], nil))
		ops = ops[n:]
	}
	return out, nil
}

// requestSize is not less than what a transaction has on the wire.
func requestSize(cmps []clientv3.Cmp, ops []clientv3.Op) int {
	const around = 48 // tags, lengths, revisions, nesting
	size := 256
	for _, c := range cmps {
		size += around + 2*len(c.KeyBytes()) // and the end of a range
	}
	for _, op := range ops {
		size += around + len(op.KeyBytes()) + len(op.ValueBytes())
	}
	return size
}

func backoff(ctx context.Context, n int) {
	d := min(time.Second, 10*time.Millisecond<<min(n, 10))
	pause(ctx, d/2+rand.N(d/2))
}
