package election

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/internal/prefixwatch"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// The transcripts in testdata are what a board is told, a line for each update,
// and behind ">" what it makes of it. An empty line begins with a new board.
// They are meant to be read.
//
//	since REV                          the reader knows everything up to there
//	reset@REV: CHANGE ...              a snapshot, as a difference
//	REV: CHANGE, ...; REV: CHANGE ...  events
//
// A CHANGE is "put KEY@CREATED=VALUE" or "delete KEY".
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := replayed(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(text), got)
		})
	}
}

func replayed(t *testing.T, text string) string {
	var out strings.Builder
	var b board
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ">") {
			continue
		}
		fmt.Fprintln(&out, line)
		switch since, ok := strings.CutPrefix(line, "since "); {
		case line == "":
			b = board{}
		case ok:
			b.since = number(t, since)
		case !strings.HasPrefix(line, "#"):
			for _, e := range b.apply(updateOf(t, line)) {
				fmt.Fprintln(&out, ">", e.Event)
			}
		}
	}
	return out.String()
}

func updateOf(t *testing.T, line string) (u prefixwatch.Update) {
	line, u.Reset = strings.CutPrefix(line, "reset@")
	for group := range strings.SplitSeq(line, "; ") {
		rev, changes, _ := strings.Cut(group, ":")
		u.Revision = number(t, rev)
		for _, match := range change.FindAllStringSubmatch(changes, -1) {
			kv := &mvccpb.KeyValue{Key: []byte(match[2]), ModRevision: u.Revision}
			ev := &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: kv}
			if match[1] == "put" {
				ev.Type = clientv3.EventTypePut
				kv.CreateRevision, kv.Value = number(t, match[3]), []byte(match[4])
				if u.Reset && kv.CreateRevision < u.Revision {
					kv.ModRevision = kv.CreateRevision
					if match[4] == "later" {
						kv.ModRevision = u.Revision - 1
					}
				}
			}
			u.Events = append(u.Events, ev)
		}
	}
	return u
}

var change = regexp.MustCompile(`(put|delete) (\w+)(?:@(\d+)=(\w+))?`)

func number(t *testing.T, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	return n
}

// Whatever happens to the keys, and however the events are cut into updates, a
// board tells what a look at every single revision would have told.
func FuzzBoardTellsEveryTermOnceAndInOrder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 9, 8, 3, 3, 0, 10})
	f.Add([]byte{0, 0, 0, 1, 1, 1, 16, 17, 18})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var b board
		var told []string
		tell := func(u prefixwatch.Update) {
			for _, e := range b.apply(u) {
				told = append(told, e.Event.String())
			}
		}
		tell(prefixwatch.Update{Revision: 1, Reset: true})
		want := []string{Event{Kind: Vacant, Revision: 1}.String()}

		keys := map[string]*mvccpb.KeyValue{}
		var before string
		var u prefixwatch.Update
		for i, step := range steps {
			rev := int64(i + 2)
			key := string('a' + rune(step%4))
			kv := &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}
			ev := &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: kv}
			if old := keys[key]; step&8 == 0 {
				ev.Type, kv.CreateRevision, kv.Value = clientv3.EventTypePut, rev, []byte{'0' + step%10}
				if old != nil {
					kv.CreateRevision = old.CreateRevision
				}
				keys[key] = kv
			} else if old == nil {
				continue
			} else {
				delete(keys, key)
			}
			u.Revision, u.Events = rev, append(u.Events, ev)
			if step&16 == 0 { // else it comes together with the next one
				tell(u)
				u = prefixwatch.Update{}
			}

			now := Event{Kind: Vacant, Revision: rev}
			for _, k := range keys {
				if now.Token == 0 || k.CreateRevision < now.Token {
					now.Kind, now.Leader = Elected, Leader{Token: k.CreateRevision, Value: k.Value}
				}
			}
			state := fmt.Sprint(now.Token, now.Kind)
			if now.Token > 0 {
				state = fmt.Sprint(now.Token, keys[leaderOf(keys)].ModRevision)
			}
			if state == before || before == "" && now.Token == 0 {
				continue
			}
			if now.Token > 0 && strings.HasPrefix(before, fmt.Sprint(now.Token, " ")) {
				now.Kind = Changed
			}
			before = state
			want = append(want, now.String())
		}
		tell(u)
		require.Equal(t, want, told)
	})
}

func leaderOf(keys map[string]*mvccpb.KeyValue) string {
	all := make([]*mvccpb.KeyValue, 0, len(keys))
	for _, kv := range keys {
		all = append(all, kv)
	}
	return string(slices.MinFunc(all, func(a, b *mvccpb.KeyValue) int { return int(a.CreateRevision - b.CreateRevision) }).Key)
}
