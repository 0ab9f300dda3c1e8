package config

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An Entry of the history is one change.
type Entry struct {
	Revision int64
	// Author, Time and Note are empty if another program made the change. Time
	// is by the clock of the author's machine.
	Author string
	Time   time.Time
	Note   string // such as that it is a rollback
	// Changes are what it changed in etcd's layer, against the entry after it
	// in the list. They are nil if either cannot be read, which Problem says.
	Changes []Change
	Problem string

	body  *body // nil if only the record remains
	first bool  // nothing was there before
}

// History returns up to limit changes, the newest first: from etcd's own past as
// far as it was not compacted, and from the last changes that were made through
// Tenure, which are kept, compressed, however much is compacted. Deletions of
// keys by other programs count to the change after them. It costs one range and
// a read for each change that etcd still knows.
func (v *Value[T]) History(ctx context.Context, limit int) ([]Entry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a limit of %d", ErrConfig, limit)
	}
	entries, err := v.past(ctx, limit+1) // one more, to compare the last one with
	if err != nil {
		return nil, fmt.Errorf("config: %q: history: %w", v.name, err)
	}
	for i := range entries {
		older := Entry{body: &body{}}
		complete := true // nothing before this change is missing
		if i+1 < len(entries) {
			older = entries[i+1]
		} else {
			complete = entries[i].first
		}
		v.pipeline.explainEntry(&entries[i], older, complete)
	}
	return entries[:min(limit, len(entries))], nil
}

// explainEntry finds what a change changed.
func (p *pipeline[T]) explainEntry(e *Entry, older Entry, complete bool) {
	var trees [2]map[string]any
	for i, b := range []*body{older.body, e.body} {
		if b == nil {
			e.Problem = "its content is no longer known"
			return
		}
		t, err := p.parse(*b)
		if err != nil {
			e.Problem = err.Error()
			return
		}
		trees[i] = t
	}
	if !complete {
		e.Problem = "what was there before is no longer known"
		return
	}
	e.Changes = p.changes(trees[0], trees[1])
}

// past collects changes from both sources.
func (v *Value[T]) past(ctx context.Context, limit int) ([]Entry, error) {
	byRev := make(map[int64]Entry)
	resp, err := v.get(ctx, v.place.history, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range resp.Kvs {
		var r record
		if json.Unmarshal(kv.Value, &r) != nil {
			continue
		}
		e := Entry{Revision: kv.ModRevision, Author: r.Author, Time: r.Time, Note: r.Note, first: r.First}
		if r.Packed != nil {
			if b, err := unpack(r.Packed); err == nil {
				e.body = &b
			}
		}
		byRev[kv.ModRevision] = e
	}
	if err := v.etcdsPast(ctx, limit, byRev); err != nil {
		return nil, err
	}
	entries := slices.SortedFunc(maps.Values(byRev), func(a, b Entry) int { return cmp.Compare(b.Revision, a.Revision) })
	return entries[:min(limit, len(entries))], nil
}

// etcdsPast adds what etcd itself remembers, going back from one change to the
// one before. A change that only deleted keys shows in none of them, but in the
// record.
func (v *Value[T]) etcdsPast(ctx context.Context, limit int, byRev map[int64]Entry) error {
	rev := int64(0) // the newest
	for range limit {
		b, last, err := v.bodyAt(ctx, rev)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return nil
		case err != nil:
			return err
		}
		for recorded := range byRev {
			if rev == 0 || recorded <= rev {
				last = max(last, recorded)
			}
		}
		if last == 0 {
			return nil // nothing was there, or another program deleted it
		}
		e := byRev[last]
		e.Revision, e.body = last, &b
		byRev[last] = e
		rev = last - 1
		if rev == 0 {
			return nil
		}
	}
	return nil
}

// bodyAt reads what was there at a revision, 0 for now, and when that was last
// changed, 0 if nothing was there.
func (v *Value[T]) bodyAt(ctx context.Context, rev int64) (body, int64, error) {
	key, opts := v.place.doc, []clientv3.OpOption{clientv3.WithRev(rev)}
	if key == "" {
		key, opts = v.place.fields, append(opts, clientv3.WithPrefix())
	}
	resp, err := v.get(ctx, key, opts...)
	if err != nil {
		return body{}, 0, err
	}
	c := contentOf(v.place, resp.Kvs)
	return c.body, c.revision, nil
}

func (v *Value[T]) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	for failures := 1; ; failures++ {
		attempt, cancel := context.WithTimeout(ctx, readTimeout)
		resp, err := v.client.Get(attempt, key, opts...)
		cancel()
		if err == nil || refused(err) {
			return resp, err
		}
		backoff(ctx, failures)
		if ended := v.ended(ctx); ended != nil {
			return nil, fmt.Errorf("%w (last attempt: %w)", ended, err)
		}
	}
}

// Rollback writes again what the configuration was at a revision, as a new
// change, and returns the new revision. It is validated first. ErrCompacted is
// returned if neither etcd nor the history remembers that revision: the
// history does so only for revisions at which a change was made.
func (v *Value[T]) Rollback(ctx context.Context, revision int64) (int64, error) {
	d, err := v.DraftRollback(ctx, revision)
	if err != nil {
		return 0, err
	}
	return v.write(ctx, d.note, func(base) (body, error) { return d.next, nil })
}

// DraftRollback computes what Rollback would do, and does not do it.
func (v *Value[T]) DraftRollback(ctx context.Context, revision int64) (*Draft, error) {
	return v.draftOf(ctx, func(ctx context.Context, _ base) (body, string, error) {
		b, err := v.remember(ctx, revision)
		return b, fmt.Sprintf("back to revision %d", revision), err
	})
}

func (v *Value[T]) remember(ctx context.Context, revision int64) (body, error) {
	if revision < 1 {
		return body{}, fmt.Errorf("%w: revision %d", ErrConfig, revision)
	}
	b, _, err := v.bodyAt(ctx, revision)
	if err == nil || !errors.Is(err, rpctypes.ErrCompacted) {
		return b, err
	}
	entries, err := v.past(ctx, MaxHistory)
	if err != nil {
		return body{}, err
	}
	for _, e := range entries {
		if e.Revision == revision && e.body != nil {
			return *e.body, nil
		}
	}
	return body{}, fmt.Errorf("%w: %d", ErrCompacted, revision)
}
