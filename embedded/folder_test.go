package embedded_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gotenure/tenure/embedded"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// fill makes a folder with a cluster of n members and one key, and closes the cluster.
func fill(t *testing.T, dir string, n int) (endpoints []string) {
	t.Helper()
	cluster, err := embedded.Start(within(t), fast(members(n), in(dir)))
	require.NoError(t, err)
	_, err = cluster.Client().Put(within(t), "key", "kept")
	require.NoError(t, err)
	require.NoError(t, cluster.Close())
	return cluster.Endpoints()
}

// refused is an attempt to start that has to fail, without changing anything in dir and without leaving a goroutine.
// No cluster may run meanwhile: etcd says that it is ready while some of its own goroutines have yet to begin.
func refused(t *testing.T, dir string, adjust ...func(*embedded.Config)) (err error) {
	t.Helper()
	leavesNothing(t, func() { err = refusedBeside(t, dir, adjust...) })
	return err
}

// refusedBeside is refused beside a cluster that runs.
func refusedBeside(t *testing.T, dir string, adjust ...func(*embedded.Config)) error {
	t.Helper()
	before := tree(t, dir)
	cluster, err := embedded.Start(within(t), fast(append(adjust, in(dir))...))
	require.Error(t, err)
	require.Nil(t, cluster)
	require.ErrorContains(t, err, "embedded: starting: ")
	require.Equal(t, before, tree(t, dir), "the folder was changed")
	return err
}

func TestAKeptFolderGoesOn(t *testing.T) {
	for _, n := range []int{1, 3} {
		dir := filepath.Join(t.TempDir(), "made", "on", "demand")
		endpoints := fill(t, dir, n)
		for _, again := range []int{n, 0} { // 0: as many as the folder holds
			cluster := start(t, members(again), in(dir))
			require.Equal(t, n, cluster.Size())
			require.Equal(t, endpoints, cluster.Endpoints())
			require.Equal(t, dir, cluster.Dir())
			resp, err := cluster.Client().Get(within(t), "key")
			require.NoError(t, err)
			require.Len(t, resp.Kvs, 1)
			require.NoError(t, cluster.Close())
		}
	}
}

func TestARelativeFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	cluster := start(t, in("data"))
	require.True(t, filepath.IsAbs(cluster.Dir()))
	require.DirExists(t, "data/member-0")
}

func TestOneClusterAtATimeWorksInAFolder(t *testing.T) {
	dir := t.TempDir()
	leavesNothing(t, func() {
		cluster, err := embedded.Start(within(t), fast(in(dir)))
		require.NoError(t, err)
		defer func() { require.NoError(t, cluster.Close()) }()
		require.ErrorIs(t, refusedBeside(t, dir), embedded.ErrDirInUse)
		putAndGet(t, cluster.Client())
	})
}

func TestAFolderOfAnotherSizeIsRefused(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	err := refused(t, dir, members(1))
	require.ErrorIs(t, err, embedded.ErrDirMismatch)
	require.ErrorContains(t, err, "holds a cluster of 3, not of 1")
	start(t, members(3), in(dir))
}

func TestAFolderOfSomebodyElseIsRefused(t *testing.T) {
	for name, make := range map[string]func(dir string) error{
		"a file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600) },
		"folders with our names": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "member-0", "letters"), 0o700)
		},
		"an etcd": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "member", "wal"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, make(dir))
			require.ErrorIs(t, refused(t, dir), embedded.ErrDirMismatch)
		})
	}
}

func TestADamagedFolderIsRefusedAndKept(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string) error
		is     error
		says   string
	}{
		"a member's data is gone": {
			damage: func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, "member-1")) },
			is:     embedded.ErrDirMismatch, says: "the data of a member is gone",
		},
		"a member's database is gone": {
			damage: func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "member-2/member/snap/db")) },
			is:     embedded.ErrDirMismatch, says: "the data of a member is gone",
		},
		"a member's log is gone": {
			damage: func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, "member-0/member/wal")) },
			is:     embedded.ErrDirMismatch, says: "the data of a member is gone",
		},
		"no manifest": {
			damage: func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "tenure-cluster.json")) },
			is:     embedded.ErrDirMismatch, says: "no tenure-cluster.json",
		},
		"a manifest that is none": {
			damage: func(_ *testing.T, dir string) error {
				return os.WriteFile(filepath.Join(dir, "tenure-cluster.json"), []byte("{"), 0o600)
			},
			is: embedded.ErrDirMismatch, says: "unexpected end of JSON input",
		},
		"a manifest that makes no sense": {
			damage: func(_ *testing.T, dir string) error {
				return os.WriteFile(filepath.Join(dir, "tenure-cluster.json"), []byte(`{"ready":true,"members":3}`), 0o600)
			},
			is: embedded.ErrDirMismatch, says: "contradicts itself",
		},
		"a database that is none": {
			damage: func(_ *testing.T, dir string) error {
				return os.WriteFile(filepath.Join(dir, "member-1/member/snap/db"), []byte("garbage"), 0o600)
			},
			says: "member-1",
		},
		"a member that somebody runs": {
			damage: func(t *testing.T, dir string) error { return openDatabase(t, filepath.Join(dir, "member-1")) },
			is:     embedded.ErrDirInUse, says: "member-1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 3)
			require.NoError(t, c.damage(t, dir))
			err := refused(t, dir)
			require.ErrorContains(t, err, c.says)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
}

// openDatabase has a member's database open, as a running etcd does, until the end of the test.
func openDatabase(t *testing.T, dir string) error {
	db, err := bolt.Open(filepath.Join(dir, "member", "snap", "db"), 0o600, nil)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, db.Close()) })
	}
	return err
}

// etcd panics, and leaves open what it has opened: only the end of the process cleans that up.
func TestADamagedLogIsAnErrorAndNotTheEnd(t *testing.T) {
	output, err := runChild(t, "damage")
	require.Error(t, err)
	require.Regexp(t, `^embedded: starting: member-0: etcd cannot work with .*member-0: `, output)
}

func startWithDamagedLog(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tenure-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := embedded.Start(ctx, fast(in(dir)))
	if err != nil {
		return err
	}
	if err := cluster.Close(); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "member-0/member/wal/*.wal"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(logs[0], []byte("garbage"), 0o600); err != nil {
		return err
	}
	_, err = embedded.Start(ctx, fast(in(dir)))
	return err
}

func TestWhatAFirstStartLeftBehindIsThrownAway(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	file := filepath.Join(dir, "tenure-cluster.json")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(text, &m))
	require.Equal(t, true, m["ready"])
	m["ready"] = false
	text, err = json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))

	cluster := start(t, in(dir), members(1))
	resp, err := cluster.Client().Get(within(t), "key")
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
	require.NoDirExists(t, filepath.Join(dir, "member-1"))
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, filepath.Join(file, "below"), filepath.Join(file, "far", "below")} {
		leavesNothing(t, func() {
			_, err := embedded.Start(within(t), fast(in(path)))
			require.ErrorContains(t, err, "embedded: starting: ")
			require.ErrorContains(t, err, "not a directory")
		})
	}
	tooLong := filepath.Join(dir, "made", "before", strings.Repeat("x", 300))
	_, err := embedded.Start(within(t), fast(in(tooLong)))
	require.ErrorContains(t, err, "file name too long")
	require.Equal(t, []string{dir, file}, tree(t, dir))
}

func TestAStartThatFailsRemovesTheFoldersItMade(t *testing.T) {
	parent := t.TempDir()
	taken := takePort(t)
	_, err := embedded.Start(within(t), fast(in(filepath.Join(parent, "a", "b")), func(c *embedded.Config) { c.ClientPorts = []int{taken} }))
	require.ErrorIs(t, err, embedded.ErrPortTaken)
	require.Equal(t, []string{parent}, tree(t, parent))
}

func TestAFolderFullOfNothingIsFine(t *testing.T) {
	dir := t.TempDir()
	taken := takePort(t)
	require.ErrorIs(t, refused(t, dir, func(c *embedded.Config) { c.ClientPorts = []int{taken} }), embedded.ErrPortTaken)
	start(t, in(dir))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	var list []string
	for _, n := range names {
		list = append(list, n.Name())
	}
	require.Equal(t, "member-0 tenure-cluster.json tenure-cluster.lock", strings.Join(list, " "))
}
