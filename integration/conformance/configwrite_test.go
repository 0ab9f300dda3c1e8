package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/harness"
)

// eachLayout runs a test with a document and with a key for each field.
func eachLayout(t *testing.T, test func(t *testing.T, c *harness.Cluster, name string, layout config.Option)) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		t.Run("document", func(t *testing.T) { test(t, c, harness.Name(t), config.WithCodec(config.JSON)) })
		t.Run("per field", func(t *testing.T) { test(t, c, harness.Name(t), config.PerField()) })
	})
}

func value(t *testing.T, c *harness.Cluster, key string) string {
	t.Helper()
	resp, err := c.Client().Get(harness.Context(t), key)
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 1, key)
	return string(resp.Kvs[0].Value)
}

func increment(l *limits) error {
	l.MaxConns++
	return nil
}

func TestUpdatesOfManyProcessesAreAllCounted(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		var group sync.WaitGroup
		var last atomic.Int64
		failed := make(chan error, 100)
		for range 4 {
			client, _ := c.Dial(t)
			v := watchLimits(t, client, name, layout)
			group.Go(func() {
				for range 5 {
					rev, err := v.Update(harness.Context(t), increment)
					if err != nil {
						failed <- err
						return
					}
					last.Store(max(last.Load(), rev))
				}
			})
		}
		group.Wait()
		require.Empty(t, failed)
		v := watchLimits(t, c.Client(), name, layout)
		waitFor(t, v, last.Load())
		require.Equal(t, 20, v.Get().MaxConns)
	})
}

// The commit is applied and its answer lost: the update is made once, and its
// revision is found.
func TestAnUpdateWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, layout)
		first, err := v.Update(harness.Context(t), increment)
		require.NoError(t, err)
		faults.OnCall(loseOnce(name, true))
		rev, err := v.Update(harness.Context(t), increment)
		require.NoError(t, err)
		require.Greater(t, rev, first)
		require.Equal(t, 2, waitFor(t, v, rev).Value.MaxConns)
		history, err := v.History(harness.Context(t), 10)
		require.NoError(t, err)
		require.Equal(t, rev, history[0].Revision)
		require.Len(t, history, 2)
	})
}

// loseOnce fails the first transaction that puts a record below the name's
// history, after it was carried out or without that.
func loseOnce(name string, carryOut bool) func(any, func() error) error {
	var done atomic.Bool
	return func(req any, call func() error) error {
		if !harness.Creates(req, "/tenure/config/"+name+"/history/") || done.Swap(true) {
			return call()
		}
		if carryOut {
			if err := call(); err != nil {
				return err
			}
		}
		return harness.ErrDown
	}
}

func TestAnUpdateThatNeverArrivedIsMadeAgain(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, layout)
		faults.OnCall(loseOnce(name, false))
		rev, err := v.Update(harness.Context(t), increment)
		require.NoError(t, err)
		require.Equal(t, 1, waitFor(t, v, rev).Value.MaxConns)
	})
}

// A transaction that nobody waits for any more arrives after it was settled:
// it must not be applied to a revision it was not computed from.
func TestAnUpdateThatArrivesLateIsNotMadeASecondTime(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, layout)
		var late atomic.Pointer[pb.TxnRequest]
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, "/tenure/config/"+name+"/history/") && late.CompareAndSwap(nil, req.(*pb.TxnRequest)) {
				return harness.ErrDown
			}
			return call()
		})
		rev, err := v.Update(harness.Context(t), increment)
		require.NoError(t, err)
		resp, err := pb.NewKVClient(c.Client().ActiveConnection()).Txn(harness.Context(t), late.Load())
		require.NoError(t, err)
		require.False(t, resp.Succeeded)
		require.Equal(t, 1, waitFor(t, v, rev).Value.MaxConns)
	})
}

func TestAnUpdateThatGetsNoAnswerSaysThatItDoesNotKnow(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name)
		ctx, cancel := context.WithCancel(harness.Context(t))
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, "/tenure/config/"+name+"/history/") {
				cancel()
				return harness.ErrDown
			}
			return call()
		})
		_, err := v.Update(ctx, increment)
		require.ErrorIs(t, err, config.ErrUnknown)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Another program writes between the read and the write of an update.
func TestAnUpdateIsComputedAnewWhenAnotherProgramWrites(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		for _, interference := range []struct {
			name   string
			layout config.Option
			before func(name string)
			meddle func(name string)
			want   limits
		}{
			{"the document", config.WithCodec(config.JSON),
				func(name string) { put(t, c, liveDoc(name), `{"max_conns": 5}`) },
				func(name string) { put(t, c, liveDoc(name), `{"max_conns": 10}`) },
				limits{MaxConns: 11}},
			{"the same field", config.PerField(),
				func(name string) { put(t, c, liveKeys(name)+"max_conns", "5") },
				func(name string) { put(t, c, liveKeys(name)+"max_conns", "10") },
				limits{MaxConns: 11}},
			{"another field", config.PerField(),
				func(name string) { put(t, c, liveKeys(name)+"max_conns", "5") },
				func(name string) { put(t, c, liveKeys(name)+"timeout", "1m") },
				limits{MaxConns: 6, Timeout: time.Minute}},
			{"a deletion", config.PerField(),
				func(name string) {
					put(t, c, liveKeys(name)+"max_conns", "5")
					put(t, c, liveKeys(name)+"timeout", "1m")
				},
				func(name string) { del(t, c, liveKeys(name)+"timeout") },
				limits{MaxConns: 6}},
		} {
			t.Run(interference.name, func(t *testing.T) {
				name := harness.Name(t)
				interference.before(name)
				v := watchLimits(t, c.Client(), name, interference.layout)
				calls := 0
				rev, err := v.Update(harness.Context(t), func(l *limits) error {
					if calls++; calls == 1 {
						interference.meddle(name)
					}
					return increment(l)
				})
				require.NoError(t, err)
				require.Equal(t, 2, calls)
				waitFor(t, v, rev)
				got := *v.Get()
				got.Tags = nil
				require.Equal(t, interference.want, got)
			})
		}
	})
}

func TestAnUpdateWritesNothingButWhatItChanges(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		t.Setenv("U_LEVEL", "ERROR")
		opts := []config.Option{
			config.WithCodec(config.YAML), config.WithEnvironment("U_"),
			config.WithDefaults(limits{MaxConns: 1, Tags: map[string]string{"low": "1"}}),
		}
		put(t, c, liveDoc(name), "timeout: 60s\nunknown: {a: 1}\n")
		v := watchLimits(t, c.Client(), name, opts...)
		rev, err := v.Update(harness.Context(t), func(l *limits) error {
			l.MaxConns++
			l.Tags["own"] = "1"
			delete(l.Tags, "low")
			return nil
		})
		require.NoError(t, err)
		require.YAMLEq(t, "{timeout: 60s, unknown: {a: 1}, max_conns: 2, tags: {own: '1', low: null}}", value(t, c, liveDoc(name)))
		require.Equal(t, map[string]string{"own": "1"}, waitFor(t, v, rev).Value.Tags)

		again, err := v.Update(harness.Context(t), func(*limits) error { return nil })
		require.NoError(t, err)
		require.Equal(t, rev, again, "nothing changed and nothing is written")
		mine := errors.New("mine")
		_, err = v.Update(harness.Context(t), func(*limits) error { return mine })
		require.ErrorIs(t, err, mine)
		require.Equal(t, rev, watchLimits(t, c.Client(), name, opts...).Snapshot().Revision)
	})
}

func TestAnUpdateIsValidatedBeforeItIsWritten(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		v := watchLimits(t, c.Client(), name, layout)
		_, err := v.Update(harness.Context(t), func(l *limits) error { l.MaxConns = -1; return nil })
		require.ErrorIs(t, err, config.ErrRejected)
		_, err = v.Put(harness.Context(t), limits{MaxConns: -1})
		require.ErrorIs(t, err, config.ErrRejected)
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/"))
	})
}

func TestAnUpdateWithoutEffectHereIsRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		t.Setenv("S_MAX_CONNS", "9")
		v := watchLimits(t, c.Client(), name, config.WithEnvironment("S_"))
		_, err := v.Update(harness.Context(t), func(l *limits) error { l.MaxConns = 5; return nil })
		require.ErrorIs(t, err, config.ErrShadowed)
		require.ErrorContains(t, err, "max_conns: 5 -> 9")
		fields := watchLimits(t, c.Client(), harness.Name(t), config.PerField(),
			config.WithDefaults(limits{Tags: map[string]string{"low": "1"}}))
		_, err = fields.Update(harness.Context(t), func(l *limits) error { l.Tags = nil; return nil })
		require.ErrorIs(t, err, config.ErrShadowed)
		require.ErrorContains(t, err, "tags")
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/"))
	})
}

func TestABadConfigurationIsMendedByRollbackAndNotByUpdate(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		v := watchLimits(t, c.Client(), name, layout)
		good, err := v.Put(harness.Context(t), limits{MaxConns: 3, Hosts: []string{"a"}})
		require.NoError(t, err)
		waitFor(t, v, good)
		for _, key := range c.Keys(t, "/tenure/config/"+name+"/live/") {
			if strings.HasSuffix(key, "/doc") || strings.HasSuffix(key, "/max_conns") {
				put(t, c, key, "nonsense")
			}
		}
		_, err = v.Update(harness.Context(t), increment)
		require.ErrorIs(t, err, config.ErrRejected)
		rev, err := v.Rollback(harness.Context(t), good)
		require.NoError(t, err)
		require.Equal(t, limits{MaxConns: 3, Hosts: []string{"a"}}, *waitFor(t, v, rev).Value)
	})
}

// All keys of one update change at one revision, however many there are, and
// beyond etcd's 128 operations a transaction.
func TestAnUpdateOfHundredsOfKeysIsOneRevision(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name, config.PerField())
		torn := make(chan int, 10)
		v.OnChange(func(_, now config.Snapshot[limits]) {
			if n := len(now.Value.Tags); n != 0 && n != 500 && n != 250 {
				torn <- n
			}
		})
		rev, err := v.Update(harness.Context(t), func(l *limits) error {
			l.Tags = map[string]string{}
			for i := range 500 {
				l.Tags[fmt.Sprint(i)] = "x"
			}
			return nil
		})
		require.NoError(t, err)
		require.Len(t, waitFor(t, v, rev).Value.Tags, 500)
		rev, err = v.Update(harness.Context(t), func(l *limits) error {
			for i := range 250 {
				delete(l.Tags, fmt.Sprint(2*i))
				l.Tags[fmt.Sprint(2*i+1)] = "y"
			}
			return nil
		})
		require.NoError(t, err)
		require.Len(t, waitFor(t, v, rev).Value.Tags, 250)
		require.Empty(t, torn)
		_, err = v.Update(harness.Context(t), func(l *limits) error {
			for i := range 5000 {
				l.Tags[fmt.Sprint(i)] = "z"
			}
			return nil
		})
		require.ErrorContains(t, err, "keys change at once, and etcd takes")
	})
}

// Defect 36, for configurations: larger than etcd takes.
func TestADocumentOverTheRequestLimitIsRefusedBeforeAnyWrite(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name)
		faults.OnCall(func(req any, call func() error) error {
			if harness.Creates(req, "/tenure/config/"+name+"/") {
				t.Error("it was sent")
			}
			return call()
		})
		_, err := v.Put(harness.Context(t), limits{Hosts: []string{strings.Repeat("x", 2<<20)}})
		require.ErrorIs(t, err, config.ErrTooLarge)
		var size *config.SizeError
		require.ErrorAs(t, err, &size)
		require.Greater(t, size.Size, 2<<20)
		require.Equal(t, config.DefaultRequestLimit, size.Limit)
		require.Empty(t, c.Keys(t, "/tenure/config/"+name+"/"))
		faults.Mend()

		// As much as goes in: what cannot be compressed has no place in the
		// history, and the document is written all the same.
		noise := make([]byte, 1_090_000)
		_, err = rand.Read(noise)
		require.NoError(t, err)
		rev, err := v.Put(harness.Context(t), limits{Hosts: []string{base64.StdEncoding.EncodeToString(noise)}})
		require.NoError(t, err)
		require.Len(t, waitFor(t, v, rev).Value.Hosts, 1)
		small, err := v.Put(harness.Context(t), limits{})
		require.NoError(t, err)
		_, err = c.Client().Compact(harness.Context(t), small)
		require.NoError(t, err)
		_, err = v.Rollback(harness.Context(t), rev)
		require.ErrorIs(t, err, config.ErrCompacted)
	})
}

func TestTheHistoryTellsWhoChangedWhatAndSurvivesCompaction(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name, layout, config.WithAuthor("ann"), config.WithHistory(3))
		var revs []int64
		for range 2 {
			rev, err := v.Update(ctx, increment)
			require.NoError(t, err)
			revs = append(revs, rev)
		}
		foreign := strings.NewReplacer("1", "7", "2", "7").Replace
		for _, key := range c.Keys(t, "/tenure/config/"+name+"/live/") {
			if strings.HasSuffix(key, "/doc") || strings.HasSuffix(key, "/max_conns") {
				revs = append(revs, put(t, c, key, foreign(value(t, c, key))))
			}
		}
		rev, err := v.Update(ctx, func(l *limits) error { l.Hosts = []string{"h"}; return nil })
		require.NoError(t, err)
		revs = append(revs, rev)

		history, err := v.History(ctx, 10)
		require.NoError(t, err)
		require.Len(t, history, 4)
		for i, want := range []struct {
			author  string
			changes []config.Change
		}{
			{"ann", []config.Change{{Path: "hosts", New: `["h"]`}}},
			{"", []config.Change{{Path: "max_conns", Old: "2", New: "7"}}},
			{"ann", []config.Change{{Path: "max_conns", Old: "1", New: "2"}}},
			{"ann", []config.Change{{Path: "max_conns", New: "1"}}},
		} {
			e := history[i]
			require.Equal(t, revs[3-i], e.Revision)
			require.Equal(t, want.author, e.Author)
			require.Equal(t, want.author == "", e.Time.IsZero())
			require.Empty(t, e.Problem)
			if layout := c.Keys(t, liveKeys(name)); len(layout) > 0 {
				for j := range want.changes { // text of keys is shown as text
					want.changes[j].Old, want.changes[j].New = quoted(want.changes[j].Old), quoted(want.changes[j].New)
				}
			}
			require.Equal(t, want.changes, e.Changes)
		}
		newest, err := v.History(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, history[:1], newest)

		_, err = c.Client().Compact(ctx, rev)
		require.NoError(t, err)
		history, err = v.History(ctx, 10)
		require.NoError(t, err)
		require.Len(t, history, 3, "the foreign one is gone")
		back, err := v.Rollback(ctx, revs[1])
		require.NoError(t, err)
		require.Equal(t, limits{MaxConns: 2}, *waitFor(t, v, back).Value)
		_, err = v.Rollback(ctx, revs[2])
		require.ErrorIs(t, err, config.ErrCompacted)
		history, err = v.History(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("back to revision %d", revs[1]), history[0].Note)
		require.Len(t, c.Keys(t, "/tenure/config/"+name+"/history/"), 3, "three were asked for")
	})
}

// quoted is how text from a key is shown.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%q", text)
}

// A change that only deletes leaves no key with its revision.
func TestTheHistoryShowsDeletions(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		v := watchLimits(t, c.Client(), name, layout)
		first, err := v.Put(ctx, limits{Tags: map[string]string{"a": "1", "b": "2"}})
		require.NoError(t, err)
		second, err := v.Update(ctx, func(l *limits) error { delete(l.Tags, "b"); return nil })
		require.NoError(t, err)
		history, err := v.History(ctx, 10)
		require.NoError(t, err)
		require.Len(t, history, 2)
		require.Equal(t, second, history[0].Revision)
		require.Equal(t, []config.Change{{Path: "tags.b", Old: `"2"`}}, history[0].Changes)
		require.Equal(t, first, history[1].Revision)
		require.Contains(t, history[1].Changes, config.Change{Path: "tags.b", New: `"2"`})
		require.Equal(t, second, waitFor(t, v, second).Revision)
		require.Equal(t, second, watchLimits(t, c.Client(), name, layout).Snapshot().Revision)
	})
}

func TestADraftShowsWhatWouldChangeAndIsAppliedToThatOrNotAtAll(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		v := watchLimits(t, c.Client(), name, layout)
		first, err := v.Put(ctx, limits{MaxConns: 1})
		require.NoError(t, err)
		draft, err := v.Draft(ctx, increment)
		require.NoError(t, err)
		require.Equal(t, []config.Change{{Path: "max_conns", Old: "1", New: "2"}}, draft.Changes)
		require.Equal(t, first, draft.Revision)
		late, err := v.Draft(ctx, func(l *limits) error { l.Timeout = 1; return nil })
		require.NoError(t, err)
		require.Equal(t, 1, watchLimits(t, c.Client(), name, layout).Get().MaxConns, "nothing is written yet")
		rev, err := v.Apply(ctx, draft)
		require.NoError(t, err)
		require.Equal(t, 2, waitFor(t, v, rev).Value.MaxConns)
		_, err = v.Apply(ctx, late)
		require.ErrorIs(t, err, config.ErrConflict)
		_, err = v.Draft(ctx, func(l *limits) error { l.MaxConns = -1; return nil })
		require.ErrorIs(t, err, config.ErrRejected)
	})
}

// An answer that is lost changes the head when it is settled; a draft is still
// of what is there.
func TestADraftIsAppliedAlthoughItsFirstTryIsLost(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		for _, carryOut := range []bool{true, false} {
			client, faults := c.Dial(t)
			v := watchLimits(t, client, name, layout)
			draft, err := v.Draft(harness.Context(t), increment)
			require.NoError(t, err)
			faults.OnCall(loseOnce(name, carryOut))
			rev, err := v.Apply(harness.Context(t), draft)
			require.NoError(t, err)
			require.Equal(t, draft.Changes[0].New, fmt.Sprint(waitFor(t, v, rev).Value.MaxConns))
		}
	})
}

func TestADocumentIsWrittenAsItIs(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		v := watchLimits(t, c.Client(), name, config.WithCodec(config.YAML))
		document := "# how many\nmax_conns: 5 # enough\n"
		rev, err := v.PutDocument(harness.Context(t), []byte(document))
		require.NoError(t, err)
		require.Equal(t, document, value(t, c, liveDoc(name)))
		require.Equal(t, 5, waitFor(t, v, rev).Value.MaxConns)
		_, err = v.PutDocument(harness.Context(t), []byte("max_conns: [\n"))
		require.ErrorIs(t, err, config.ErrRejected)
		require.ErrorContains(t, err, "line 1")
		fields := watchLimits(t, c.Client(), harness.Name(t), config.PerField())
		_, err = fields.PutDocument(harness.Context(t), nil)
		require.ErrorIs(t, err, config.ErrConfig)
	})
}

func TestSecretsAreEncryptedInEtcd(t *testing.T) {
	eachLayout(t, func(t *testing.T, c *harness.Cluster, name string, layout config.Option) {
		ctx := harness.Context(t)
		old, fresh := bytes.Repeat([]byte{1}, config.KeySize), bytes.Repeat([]byte{2}, config.KeySize)
		cipher := func(keys ...[]byte) config.Option {
			c, err := config.AESGCM(keys...)
			require.NoError(t, err)
			return config.WithCipher(c)
		}
		v := watchLimits(t, c.Client(), name, layout, cipher(old))
		_, err := v.Put(ctx, limits{MaxConns: 1, Password: config.NewSecret("hunter2")})
		require.NoError(t, err)
		rev, err := v.Update(ctx, increment)
		require.NoError(t, err)
		require.Equal(t, "hunter2", waitFor(t, v, rev).Value.Password.Reveal())
		all := func() string {
			resp, err := c.Client().Get(ctx, "/tenure/config/"+name+"/", clientv3.WithPrefix())
			require.NoError(t, err)
			return fmt.Sprint(resp.Kvs)
		}
		require.NotContains(t, all(), "hunter2")
		before := all()
		require.Contains(t, before, "tenure-encrypted:aes256gcm:")

		// A new key in front encrypts what is written, the old one still opens
		// what was.
		both := watchLimits(t, c.Client(), name, layout, cipher(fresh, old))
		rev, err = both.Update(ctx, func(l *limits) error { l.Password = config.NewSecret("hunter3"); return nil })
		require.NoError(t, err)
		_, err = v.Wait(ctx, rev)
		require.ErrorIs(t, err, config.ErrRejected)
		require.ErrorContains(t, err, "password: encrypted with key")
		require.Equal(t, "hunter2", v.Get().Password.Reveal())
		require.Equal(t, "hunter3", waitFor(t, both, rev).Value.Password.Reveal())
		_, err = config.Watch[limits](ctx, c.Client(), name, layout)
		require.ErrorContains(t, err, "password: it is encrypted, and no cipher was given")

		// Moved to another configuration it does not open.
		for _, kv := range getAll(t, c, "/tenure/config/"+name+"/live/") {
			if !strings.HasSuffix(string(kv.Key), "/head") {
				put(t, c, strings.Replace(string(kv.Key), name, name+"-other", 1), string(kv.Value))
			}
		}
		_, err = config.Watch[limits](ctx, c.Client(), name+"-other", layout, cipher(fresh, old))
		require.ErrorContains(t, err, "password: cannot be decrypted")
	})
}

func getAll(t *testing.T, c *harness.Cluster, prefix string) []*mvccpb.KeyValue {
	t.Helper()
	resp, err := c.Client().Get(harness.Context(t), prefix, clientv3.WithPrefix())
	require.NoError(t, err)
	return resp.Kvs
}
