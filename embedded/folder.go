package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// What a cluster keeps in its folder, next to one folder for each member.
const (
	lockName     = "tenure-cluster.lock" // locked as long as a cluster works in the folder
	manifestName = "tenure-cluster.json" // what the folder holds
	tlsName      = "tls"                 // throw-away certificates
	memberPrefix = "member-"
)

// manifest says what a folder holds. The peers' ports belong there because members that have met look for each
// other where their data says.
type manifest struct {
	Members     int   `json:"members"`
	ClientPorts []int `json:"client_ports"`
	PeerPorts   []int `json:"peer_ports"`

	// Ready is false until all members have been up once. What a first start that broke off has left behind can be
	// thrown away: nobody was told about the cluster.
	Ready bool `json:"ready"`
}

// folder is where a cluster works, locked against others.
type folder struct {
	path     string
	lock     *fileutil.LockedFile
	created  string   // the topmost folder that had to be made; empty if the folder was there
	fresh    bool     // nothing in it is worth keeping
	manifest manifest // of the cluster to be continued, unless fresh
}

// openFolder creates the folder if need be, locks it and finds out what it holds.
func openFolder(path string) (*folder, error) {
	if path == "" {
		temporary, err := os.MkdirTemp("", "tenure-etcd-")
		if err != nil {
			return nil, err
		}
		return lockFolder(&folder{path: temporary, created: temporary})
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f := &folder{path: path, created: topmostMissing(path)}
	if err := os.MkdirAll(path, 0o700); err != nil {
		f.removeCreated()
		return nil, err
	}
	return lockFolder(f)
}

// topmostMissing returns the part of an absolute path where MkdirAll will begin to create, or nothing.
func topmostMissing(path string) string {
	missing := ""
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return missing
		}
		missing = path
		path = filepath.Dir(path)
	}
}

func (f *folder) removeCreated() {
	if f.created != "" {
		_ = os.RemoveAll(f.created) // the error that led here is the one to report
	}
}

func lockFolder(f *folder) (*folder, error) {
	if err := f.refuseForeign(); err != nil {
		return nil, err
	}
	var err error
	f.lock, err = fileutil.TryLockFile(filepath.Join(f.path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fileutil.ErrLocked):
		return nil, fmt.Errorf("%w: %s", ErrDirInUse, f.path)
	case err != nil:
		f.removeCreated()
		return nil, fmt.Errorf("locking %s: %w", f.path, err)
	}
	if err := f.read(); err != nil {
		f.abandon()
		return nil, err
	}
	return f, nil
}

// refuseForeign keeps away from a folder that belongs to somebody else.
func (f *folder) refuseForeign() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty and holds no cluster of this package", ErrDirMismatch, f.path)
	}
	return nil
}

// read finds the cluster that the folder holds, if any.
func (f *folder) read() error {
	file := filepath.Join(f.path, manifestName)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.expectNoData()
	case err != nil:
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: reading %s: %w", ErrDirMismatch, file, err)
	}
	if !m.Ready {
		f.fresh = true
		return nil
	}
	f.manifest = m
	if m.Members < 1 || len(m.ClientPorts) != m.Members || len(m.PeerPorts) != m.Members {
		return fmt.Errorf("%w: %s contradicts itself", ErrDirMismatch, file)
	}
	for i := range m.Members {
		if err := checkData(f.memberPath(i)); err != nil {
			return err
		}
	}
	return nil
}

// expectNoData makes sure that a folder without a manifest is one where no start has come far.
func (f *folder) expectNoData() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != tlsName {
			return fmt.Errorf("%w: %s holds %s but no %s", ErrDirMismatch, f.path, e.Name(), manifestName)
		}
	}
	f.fresh = true
	return nil
}

// checkData looks at a member's log and opens its database for a moment. etcd itself would begin a new life without
// the log, panic in a goroutine of its own if the database is none, and wait without end if another etcd has it open.
func checkData(path string) error {
	if dir := filepath.Join(path, "member", "wal"); !wal.Exist(dir) {
		return fmt.Errorf("%w: the data of a member is gone: no log in %s", ErrDirMismatch, dir)
	}
	file := filepath.Join(path, "member", "snap", "db")
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 100 * time.Millisecond})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the data of a member is gone: %w", ErrDirMismatch, err)
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: another etcd works on %s", ErrDirInUse, path)
	case err != nil:
		return fmt.Errorf("opening %s: %w", file, err)
	}
	return db.Close()
}

func (f *folder) memberPath(i int) string { return filepath.Join(f.path, memberName(i)) }

func (f *folder) tlsPath() string { return filepath.Join(f.path, tlsName) }

// write records m, in one step: a crash leaves the old manifest or the new one.
func (f *folder) write(m manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	final := filepath.Join(f.path, manifestName)
	next := final + ".next"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, final)
}

// removeMembers removes what a start that did not succeed has left of the members.
func (f *folder) removeMembers() error {
	return f.removeAll(func(name string) bool { return strings.HasPrefix(name, memberPrefix) })
}

func (f *folder) removeAll(match func(name string) bool) error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if match(e.Name()) {
			if err := os.RemoveAll(filepath.Join(f.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// close lets go of the folder and keeps what is in it.
func (f *folder) close() error { return f.lock.Close() }

// remove lets go of the folder and removes it.
func (f *folder) remove() error { return errors.Join(f.lock.Close(), os.RemoveAll(f.path)) }

// abandon leaves the folder as it was found, after a start that failed. There is nobody to report another error to.
func (f *folder) abandon() {
	switch {
	case f.created != "":
		_ = f.lock.Close()
		f.removeCreated()
	case f.fresh:
		_ = f.removeAll(func(string) bool { return true })
		_ = f.lock.Close()
	default:
		_ = f.lock.Close()
	}
}
