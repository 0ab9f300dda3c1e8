package fleet

import (
	"context"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

// follow calls f with the reports of all live instances, by name, whenever they
// have changed, until f returns true, an error, or ctx ends. The reports that f
// sees first are not older than revision from.
func (f *Fleet) follow(ctx context.Context, from int64, done func([]Report) (bool, error)) error {
	watch := prefixwatch.Open(ctx, f.client, prefixwatch.Config{Key: f.instances(), Prefix: true, From: from})
	defer watch.Close()
	live := make(map[string]Report)
	for {
		update, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for _, ev := range update.Events {
			key := string(ev.Kv.Key)
			delete(live, key)
			if ev.Type == clientv3.EventTypePut {
				if r, ok := parseReport(f.instances(), key, ev.Kv.Value); ok {
					live[key] = r
				}
			}
		}
		if ended, err := done(slices.SortedFunc(maps.Values(live), byName)); ended || err != nil {
			return err
		}
	}
}
