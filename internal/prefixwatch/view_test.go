package prefixwatch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func kv(key string, create, mod int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), CreateRevision: create, ModRevision: mod}
}

func describe(events []*clientv3.Event) string {
	var lines []string
	for _, ev := range events {
		lines = append(lines, fmt.Sprintf("%s %s@%d", ev.Type, ev.Kv.Key, ev.Kv.ModRevision))
	}
	return strings.Join(lines, ", ")
}

func TestTheFirstSnapshotIsAllPuts(t *testing.T) {
	v := newView(false)
	require.Equal(t, "PUT b@3, PUT a@5", describe(v.replace([]*mvccpb.KeyValue{kv("a", 2, 5), kv("b", 3, 3)}, 9)))
}

func TestALaterSnapshotIsTheDifference(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []*mvccpb.KeyValue
		after  []*mvccpb.KeyValue
		want   string
	}{
		{"nothing changed", []*mvccpb.KeyValue{kv("a", 2, 2)}, []*mvccpb.KeyValue{kv("a", 2, 2)}, ""},
		{"changed", []*mvccpb.KeyValue{kv("a", 2, 2)}, []*mvccpb.KeyValue{kv("a", 2, 7)}, "PUT a@7"},
		{"created anew", []*mvccpb.KeyValue{kv("a", 2, 2)}, []*mvccpb.KeyValue{kv("a", 7, 7)}, "PUT a@7"},
		{"gone", []*mvccpb.KeyValue{kv("a", 2, 2), kv("b", 3, 3)}, []*mvccpb.KeyValue{kv("b", 3, 3)}, "DELETE a@9"},
		{"all at once", []*mvccpb.KeyValue{kv("a", 2, 2), kv("b", 3, 3)}, []*mvccpb.KeyValue{kv("b", 3, 8), kv("c", 5, 5)},
			"PUT c@5, PUT b@8, DELETE a@9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newView(false)
			v.replace(c.before, 4)
			require.Equal(t, c.want, describe(v.replace(c.after, 9)))
			require.Empty(t, v.replace(c.after, 10), "it has been told")
		})
	}
}

func TestAViewIsBehindWhenASnapshotShowsWhatTheEventsHaveNot(t *testing.T) {
	known := []*mvccpb.KeyValue{kv("a", 2, 2), kv("b", 3, 3)}
	for _, c := range []struct {
		name           string
		now            []*mvccpb.KeyValue
		behind, noPuts bool // noPuts: if only deletions are reported
	}{
		{"the same", []*mvccpb.KeyValue{kv("a", 2, 2), kv("b", 3, 3)}, false, false},
		{"a put", []*mvccpb.KeyValue{kv("a", 2, 7), kv("b", 3, 3)}, true, false},
		{"a new key", []*mvccpb.KeyValue{kv("a", 2, 2), kv("b", 3, 3), kv("c", 7, 7)}, true, false},
		{"a deletion", []*mvccpb.KeyValue{kv("b", 3, 3)}, true, true},
		{"created anew", []*mvccpb.KeyValue{kv("a", 7, 7), kv("b", 3, 3)}, true, true},
		{"one gone, one new", []*mvccpb.KeyValue{kv("b", 3, 3), kv("c", 7, 7)}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newView(false)
			v.replace(known, 4)
			require.Equal(t, c.behind, v.behind(c.now))
			v = newView(true)
			v.replace(known, 4)
			require.Equal(t, c.noPuts, v.behind(c.now))
		})
	}
}

func TestEventsMoveTheView(t *testing.T) {
	v := newView(false)
	v.replace([]*mvccpb.KeyValue{kv("a", 2, 2)}, 4)
	v.apply(&clientv3.Event{Type: clientv3.EventTypePut, Kv: kv("b", 5, 5)})
	v.apply(&clientv3.Event{Type: clientv3.EventTypeDelete, Kv: kv("a", 0, 6)})
	require.False(t, v.behind([]*mvccpb.KeyValue{kv("b", 5, 5)}))
	require.Empty(t, v.replace([]*mvccpb.KeyValue{kv("b", 5, 5)}, 7))
}
