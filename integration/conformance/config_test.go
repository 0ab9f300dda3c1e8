package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/harness"
)

// limits is what the tests configure.
type limits struct {
	MaxConns int
	Timeout  time.Duration
	Level    slog.Level
	Hosts    []string
	Tags     map[string]string
	HTTP     struct{ Port uint16 }
	Password config.Secret
}

func (l *limits) Validate() error {
	if l.MaxConns < 0 {
		return errors.New("max_conns is negative")
	}
	return nil
}

func liveDoc(name string) string  { return "/tenure/config/" + name + "/live/doc" }
func liveKeys(name string) string { return "/tenure/config/" + name + "/live/keys/" }

func watchLimits(t *testing.T, client *clientv3.Client, name string, opts ...config.Option) *config.Value[limits] {
	t.Helper()
	v, err := config.Watch[limits](harness.Context(t), client, name, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
		defer cancel()
		require.NoError(t, v.Close(ctx))
	})
	return v
}

// waitFor waits until the value has looked at a revision and accepted it.
func waitFor[T any](t *testing.T, v *config.Value[T], revision int64) config.Snapshot[T] {
	t.Helper()
	snapshot, err := v.Wait(harness.Context(t), revision)
	require.NoError(t, err)
	return snapshot
}

func TestAValueFollowsTheDocument(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name)
		require.Equal(t, limits{}, *v.Get(), "nothing is there, and nothing is required")
		rev := put(t, c, liveDoc(name), `{"max_conns": 5, "timeout": "1m", "level": "WARN", "hosts": ["a"], "http": {"port": 80}}`)
		snapshot := waitFor(t, v, rev)
		require.Equal(t, rev, snapshot.Revision)
		require.Equal(t, config.FromEtcd, snapshot.Source)
		require.True(t, snapshot.Current)
		require.Same(t, v.Get(), snapshot.Value)
		got := v.Get()
		require.Equal(t, 5, got.MaxConns)
		require.Equal(t, time.Minute, got.Timeout)
		require.Equal(t, slog.LevelWarn, got.Level)
		require.Equal(t, uint16(80), got.HTTP.Port)

		later := watchLimits(t, client, name)
		require.Equal(t, rev, later.Snapshot().Revision, "the revision is that of the content, for everybody")
	})
}

func TestAValueFollowsItsKeys(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, _ := c.Dial(t)
		v := watchLimits(t, client, name, config.PerField())
		put(t, c, liveKeys(name)+"max_conns", "5")
		put(t, c, liveKeys(name)+"http/port", "80")
		put(t, c, liveKeys(name)+"tags/a%2Fb", "x")
		rev := put(t, c, liveKeys(name)+"hosts", "a, b")
		waitFor(t, v, rev)
		require.Equal(t, 5, v.Get().MaxConns)
		require.Equal(t, uint16(80), v.Get().HTTP.Port)
		require.Equal(t, map[string]string{"a/b": "x"}, v.Get().Tags)
		require.Equal(t, []string{"a", "b"}, v.Get().Hosts)
	})
}

// Defect 26: updates between the first read and the watch are lost.
func TestNoUpdateIsLostWhileWatchingBegins(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, _ := c.Dial(t)
		stop, stopped := make(chan struct{}), make(chan int64, 1)
		go func() { // writes until it is stopped, and then tells the last revision
			last := int64(0)
			for n := 1; ; n++ {
				select {
				case <-stop:
					stopped <- last
					return
				default:
				}
				if resp, err := c.Client().Put(harness.Context(t), liveDoc(name), fmt.Sprintf(`{"max_conns": %d}`, n)); err == nil {
					last = resp.Header.Revision
				}
			}
		}()
		values := []*config.Value[limits]{}
		for range 20 {
			values = append(values, watchLimits(t, client, name))
		}
		close(stop)
		last := harness.Got(t, stopped)
		resp, err := c.Client().Get(harness.Context(t), liveDoc(name))
		require.NoError(t, err)
		for _, v := range values {
			waitFor(t, v, last)
			require.JSONEq(t, string(resp.Kvs[0].Value), fmt.Sprintf(`{"max_conns": %d}`, v.Get().MaxConns))
		}
	})
}

// Defect 27: the watch dies at a compaction, silently or in a hot loop.
func TestAValueSurvivesACompactionWhileItIsCutOff(t *testing.T) {
	harness.EachSize(t, func(t *testing.T, c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, config.PerField())
		waitFor(t, v, put(t, c, liveKeys(name)+"max_conns", "1"))
		waitFor(t, v, put(t, c, liveKeys(name)+"tags/gone", "1"))
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		put(t, c, liveKeys(name)+"max_conns", "2")
		del(t, c, liveKeys(name)+"tags/gone")
		rev := put(t, c, liveKeys(name)+"tags/new", "1")
		_, err := c.Client().Compact(harness.Context(t), rev)
		require.NoError(t, err)
		faults.OnStream(nil)
		waitFor(t, v, rev)
		require.Equal(t, 2, v.Get().MaxConns)
		require.Equal(t, map[string]string{"new": "1"}, v.Get().Tags)
		waitFor(t, v, put(t, c, liveKeys(name)+"max_conns", "3"))
		require.Equal(t, 3, v.Get().MaxConns)
	})
}

// A connection that has gone silent is found out, and nothing that was written
// meanwhile is missing.
func TestAValueThatWasCutOffHasAllThatWasWrittenMeanwhile(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name, config.PerField(), config.WithMaxStaleness(time.Second))
		waitFor(t, v, put(t, c, liveKeys(name)+"max_conns", "1"))
		faults.Deafen()
		put(t, c, liveKeys(name)+"tags/first", "1")
		rev := put(t, c, liveKeys(name)+"tags/second", "1")
		waitFor(t, v, rev)
		require.Equal(t, map[string]string{"first": "1", "second": "1"}, v.Get().Tags)
	})
}

// Defect 28: a removed key survives a reload, because the new value is merged
// over the old one.
func TestWhatIsRemovedIsGone(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		v := watchLimits(t, c.Client(), name, config.WithDefaults(limits{Timeout: time.Second}))
		waitFor(t, v, put(t, c, liveDoc(name), `{"max_conns": 5, "timeout": "1m", "tags": {"a": "1", "b": "2"}, "hosts": ["a", "b"]}`))
		before := v.Get()
		waitFor(t, v, put(t, c, liveDoc(name), `{"tags": {"b": "2"}, "hosts": ["c"]}`))
		require.Equal(t, limits{Timeout: time.Second, Tags: map[string]string{"b": "2"}, Hosts: []string{"c"}}, *v.Get())
		require.Equal(t, []string{"a", "b"}, before.Hosts, "who has the old value has all of it")
		require.Equal(t, map[string]string{"a": "1", "b": "2"}, before.Tags)
	})
}

// Defect 29: a bad update destroys the good value, or is only logged.
func TestABadUpdateKeepsTheGoodValueAndIsToldAndDoesNotStopLaterOnes(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		rejected := make(chan *config.RejectedError, 10)
		v := watchLimits(t, c.Client(), name, config.WithObserver(config.Observer{
			Rejected: func(r *config.RejectedError) { rejected <- r },
		}))
		good := put(t, c, liveDoc(name), `{"max_conns": 5}`)
		waitFor(t, v, good)
		for _, bad := range []struct{ document, says string }{
			{`{"max_conns": `, "JSON: line 1"},
			{`{"max_conns": "many"}`, `max_conns: want an integer (int), have "many"`},
			{`{"max_conns": -1}`, "max_conns is negative"},
		} {
			rev := put(t, c, liveDoc(name), bad.document)
			snapshot, err := v.Wait(harness.Context(t), rev)
			require.ErrorIs(t, err, config.ErrRejected)
			require.ErrorContains(t, err, bad.says)
			require.Equal(t, 5, v.Get().MaxConns)
			require.Equal(t, good, snapshot.Revision)
			require.False(t, snapshot.Current)
			require.Equal(t, rev, snapshot.Rejected.Revision)
			require.Equal(t, rev, harness.Got(t, rejected).Revision)
		}
		snapshot := waitFor(t, v, put(t, c, liveDoc(name), `{"max_conns": 6}`))
		require.Equal(t, 6, v.Get().MaxConns)
		require.True(t, snapshot.Current)
		require.NotNil(t, snapshot.Rejected, "the last rejection stays visible")
	})
}

// The newest of several revisions that arrive at once is bad: the good one
// before it must not be skipped.
func TestAGoodRevisionRightBeforeABadOneIsReached(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		v := watchLimits(t, client, name)
		faults.OnStream(func(string) error { return harness.ErrDown })
		faults.Break()
		put(t, c, liveDoc(name), `{"max_conns": 1}`)
		good := put(t, c, liveDoc(name), `{"max_conns": 2}`)
		bad := put(t, c, liveDoc(name), `{"max_conns": -1}`)
		faults.OnStream(nil)
		snapshot, err := v.Wait(harness.Context(t), bad)
		require.ErrorIs(t, err, config.ErrRejected)
		require.Equal(t, good, snapshot.Revision)
		require.Equal(t, 2, v.Get().MaxConns)
	})
}

// Defect 30: a concurrent reader sees half of the old and half of the new.
func TestReadersSeeWholeValuesOnly(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		doc := func(n int) string {
			return fmt.Sprintf(`{"max_conns": %d, "hosts": ["%d"], "tags": {"n": "%d"}}`, n, n, n)
		}
		put(t, c, liveDoc(name), doc(0))
		v := watchLimits(t, c.Client(), name)
		last := 0
		for n := range 100 {
			written := make(chan int64, 1)
			go func() {
				defer close(written)
				if resp, err := c.Client().Put(harness.Context(t), liveDoc(name), doc(n)); err == nil {
					written <- resp.Header.Revision
				}
			}()
			for rev := int64(0); v.Snapshot().Seen < rev || rev == 0; runtime.Gosched() {
				select {
				case r, ok := <-written:
					require.True(t, ok || rev > 0, "it was not written")
					rev = max(rev, r)
				default:
				}
				l := v.Get()
				n := fmt.Sprint(l.MaxConns)
				require.True(t, l.Hosts[0] == n && l.Tags["n"] == n && l.MaxConns >= last, "%+v after %d", l, last)
				last = l.MaxConns
			}
		}
		require.Equal(t, 99, last)
	})
}

// Defect 31: start-up and reload take different paths through defaults and
// validation.
func TestStartAndReloadTakeTheSamePath(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		for _, document := range []string{`{"http": {"port": 80}}`, `{"max_conns": -1}`, `{"timeout": 5}`, `{"tags": {"x": "y"}}`} {
			name := harness.Name(t)
			opts := []config.Option{
				config.WithDefaults(limits{MaxConns: 3, Tags: map[string]string{"d": "1"}}),
				config.WithValidation(func(l *limits) error {
					if l.HTTP.Port == 81 {
						return errors.New("not 81")
					}
					return nil
				}),
			}
			before := watchLimits(t, c.Client(), name, opts...)
			rev := put(t, c, liveDoc(name), document)
			_, reloadErr := before.Wait(harness.Context(t), rev)
			after, startErr := config.Watch[limits](harness.Context(t), c.Client(), name, opts...)
			if reloadErr != nil {
				require.EqualError(t, startErr, reloadErr.Error())
				continue
			}
			require.NoError(t, startErr)
			require.Equal(t, before.Get(), after.Get())
			require.NoError(t, after.Close(harness.Context(t)))
		}
	})
}

func TestLayersWinInTheStatedOrder(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		file := filepath.Join(t.TempDir(), "limits.yaml")
		require.NoError(t, os.WriteFile(file, []byte("max_conns: 2\ntimeout: 2s\ntags: {file: yes it is}\n"), 0o600))
		t.Setenv("LIMITS_LEVEL", "ERROR")
		t.Setenv("LIMITS_HOSTS", "x,y")
		put(t, c, liveDoc(name), `{"timeout": "3s", "level": "WARN", "tags": {"etcd": "1", "low": null}}`)
		opts := []config.Option{
			config.WithDefaults(limits{MaxConns: 1, Timeout: time.Second, Tags: map[string]string{"low": "1", "d": "1"}}),
			config.WithFile(file), config.WithEnvironment("LIMITS_"),
		}
		v := watchLimits(t, c.Client(), name, opts...)
		require.Equal(t, limits{
			MaxConns: 2, Timeout: 3 * time.Second, Level: slog.LevelError, Hosts: []string{"x", "y"},
			Tags: map[string]string{"d": "1", "file": "yes it is", "etcd": "1"},
		}, *v.Get())
		s := v.Snapshot()
		for path, want := range map[string]string{
			"max_conns": "file " + file, "timeout": "etcd " + liveDoc(name), "level": "environment LIMITS_",
			"tags.d": "defaults ", "tags.etcd": "etcd " + liveDoc(name), "http.port": "defaults ",
		} {
			origin, ok := s.Origin(path)
			require.True(t, ok, path)
			require.Equal(t, want, origin.String(), path)
		}
		require.Len(t, s.Layers(), 4)

		turned := watchLimits(t, c.Client(), name,
			append(opts, config.WithOrder(config.Environment, config.Etcd, config.File, config.Defaults))...)
		require.Equal(t, 1, turned.Get().MaxConns)
		require.Equal(t, slog.LevelInfo, turned.Get().Level)

		require.NoError(t, os.WriteFile(file, []byte("max_conns: 20\n"), 0o600))
		require.NoError(t, v.Reload())
		require.Equal(t, 20, v.Get().MaxConns)
		require.NoError(t, os.WriteFile(file, []byte("max_conns: [\n"), 0o600))
		require.ErrorIs(t, v.Reload(), config.ErrRejected)
		require.Equal(t, 20, v.Get().MaxConns)
		require.False(t, v.Snapshot().Current)
	})
}

// Defect 32: the value, secrets included, is logged.
func TestSecretsAreNotShown(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		var log strings.Builder
		var mu sync.Mutex
		logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
		put(t, c, liveDoc(name), `{"password": "hunter2"}`)
		v := watchLimits(t, c.Client(), name, config.WithLogger(logger))
		require.Equal(t, "hunter2", v.Get().Password.Reveal())
		s := v.Snapshot()
		logger.Info("now", "snapshot", s, "value", v.Get().Password)
		_, err := v.Wait(harness.Context(t), put(t, c, liveDoc(name), `{"password": {"hunter2": 1}}`))
		require.Error(t, err)
		draft, err := v.DraftDocument(harness.Context(t), []byte(`{"password": "hunter3"}`))
		require.NoError(t, err)
		shown := fmt.Sprint(s, err, draft.Changes) + fmt.Sprintf("%v %+v %#v %q", *v.Get(), *v.Get(), *v.Get(), v.Get().Password)
		mu.Lock()
		defer mu.Unlock()
		require.NotContains(t, shown+log.String(), "hunter")
		require.Contains(t, s.String(), `"password":"[secret]"`)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestADeletionIsRejectedWhereTheConfigurationIsRequired(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		_, err := config.Watch[limits](harness.Context(t), c.Client(), name, config.Required())
		require.ErrorIs(t, err, config.ErrMissing)
		put(t, c, liveDoc(name), `{"max_conns": 7}`)
		v := watchLimits(t, c.Client(), name, config.Required())
		optional := watchLimits(t, c.Client(), name)
		resp, err := c.Client().Delete(harness.Context(t), liveDoc(name))
		require.NoError(t, err)
		_, err = v.Wait(harness.Context(t), resp.Header.Revision)
		require.ErrorIs(t, err, config.ErrMissing)
		require.Equal(t, 7, v.Get().MaxConns)
		waitFor(t, optional, resp.Header.Revision)
		require.Zero(t, optional.Get().MaxConns)
	})
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		for says, opts := range map[string][]config.Option{
			"the defaults are a int":          {config.WithDefaults(5)},
			"the validation is a":             {config.WithValidation(func(*int) error { return nil })},
			"each of the four layers once":    {config.WithOrder(config.Etcd, config.File)},
			"the format of":                   {config.WithFile("limits.ini")},
			"changes cannot be staged":        {config.AtKey("/x"), config.WithInstance(config.Instance{Name: "a"})},
			"does not end in a slash":         {config.AtKey("/x"), config.PerField()},
			"is empty or only slashes":        {config.AtKey("/")},
			"a staleness of 1ms":              {config.WithMaxStaleness(time.Millisecond)},
			"a fallback needs a path":         {config.WithFallback("", time.Second)},
			"a history of 0":                  {config.WithHistory(0)},
			"a request limit of 1":            {config.WithRequestLimit(1)},
			"the codec is nil":                {config.WithCodec(nil)},
			"the namespace must not be empty": {config.WithNamespace("/")},
			"the cipher is nil":               {config.WithCipher(nil)},
			"the author is empty":             {config.WithAuthor("")},
			"the instance's name is empty":    {config.WithInstance(config.Instance{})},
		} {
			_, err := config.Watch[limits](harness.Context(t), c.Client(), "x", opts...)
			require.ErrorIs(t, err, config.ErrConfig)
			require.ErrorContains(t, err, says)
		}
		_, err := config.Watch[limits](harness.Context(t), c.Client(), "")
		require.ErrorIs(t, err, config.ErrConfig)
		_, err = config.Watch[limits](harness.Context(t), nil, "x")
		require.ErrorIs(t, err, config.ErrConfig)
		_, err = config.Watch[int](harness.Context(t), c.Client(), "x")
		require.ErrorIs(t, err, config.ErrConfig)
		_, err = config.Watch[struct{ F func() }](harness.Context(t), c.Client(), "x")
		require.ErrorIs(t, err, config.ErrConfig)
		_, err = config.Watch[map[string]any](harness.Context(t), c.Client(), "x", config.PerField())
		require.ErrorIs(t, err, config.ErrConfig)
	})
}

func TestCloseLeavesNothingAndGetGoesOn(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		client, faults := c.Dial(t)
		put(t, c, liveDoc(name), `{"max_conns": 7}`)
		v, err := config.Watch[limits](harness.Context(t), client, name)
		require.NoError(t, err)
		inside, release := make(chan struct{}), make(chan struct{})
		v.OnChange(func(_, _ config.Snapshot[limits]) {
			close(inside)
			<-release
		})
		put(t, c, liveDoc(name), `{"max_conns": 8}`)
		harness.Got(t, inside)
		short, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, v.Close(short), context.Canceled, "a subscriber still runs")
		close(release)
		require.NoError(t, v.Close(harness.Context(t)))
		require.NoError(t, v.Close(harness.Context(t)))
		require.Equal(t, 8, v.Get().MaxConns)
		_, err = v.Wait(harness.Context(t), 1<<40)
		require.ErrorIs(t, err, config.ErrClosed)
		_, err = v.Update(harness.Context(t), func(l *limits) error { l.MaxConns++; return nil })
		require.ErrorIs(t, err, config.ErrClosed)
		require.ErrorIs(t, v.Reload(), config.ErrClosed)
		faults.Cut()
		for _, err := range v.Changes(harness.Context(t)) {
			if err != nil {
				require.ErrorIs(t, err, config.ErrClosed)
			}
		}
		require.Equal(t, []string{liveDoc(name)}, c.Keys(t, "/tenure/config/"+name+"/"))
	})
}

func TestAValueCanBeAtAnyKey(t *testing.T) {
	harness.OneMember(t, func(c *harness.Cluster) {
		name := harness.Name(t)
		doc := watchLimits(t, c.Client(), name, config.AtKey("/"+name+".toml"), config.WithCodec(config.TOML))
		waitFor(t, doc, put(t, c, "/"+name+".toml", "max_conns = 5\n[http]\nport = 80\n"))
		require.Equal(t, 5, doc.Get().MaxConns)
		rev, err := doc.Update(harness.Context(t), func(l *limits) error { l.MaxConns++; return nil })
		require.NoError(t, err)
		waitFor(t, doc, rev)
		require.Equal(t, 6, doc.Get().MaxConns)
		require.Equal(t, uint16(80), doc.Get().HTTP.Port)

		fields := watchLimits(t, c.Client(), name+"-fields", config.AtKey("/"+name+"/"), config.PerField())
		rev, err = fields.Put(harness.Context(t), limits{MaxConns: 1, Tags: map[string]string{"a": "b"}})
		require.NoError(t, err)
		waitFor(t, fields, rev)
		resp, err := c.Client().Delete(harness.Context(t), "/"+name+"/tags/a")
		require.NoError(t, err)
		later := watchLimits(t, c.Client(), name+"-fields", config.AtKey("/"+name+"/"), config.PerField())
		waitFor(t, later, resp.Header.Revision)
		require.Empty(t, later.Get().Tags)
	})
}
