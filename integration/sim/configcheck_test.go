package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gotenure/tenure/config"
	"github.com/gotenure/tenure/integration/history"
)

// committed is what etcd had at each revision at which something below live/
// changed, decoded here and not by what is tested.
type committed struct {
	revisions []int64 // ascending
	at        map[int64]twins
	bad       map[int64]string
}

func (c *configRun) committed() committed {
	tr := committed{at: map[int64]twins{0: {}}, bad: map[int64]string{}, revisions: []int64{0}}
	keys := map[string]string{}
	for i, change := range c.changes {
		key, ours := strings.CutPrefix(change.Key, live)
		if ours && change.Deleted {
			delete(keys, key)
		} else if ours {
			keys[key] = change.Value
		}
		if i+1 < len(c.changes) && c.changes[i+1].Revision == change.Revision {
			if !ours || tr.revisions[len(tr.revisions)-1] == change.Revision {
				continue
			}
		}
		if tr.revisions[len(tr.revisions)-1] != change.Revision {
			tr.revisions = append(tr.revisions, change.Revision)
		}
		value, err := c.decode(keys)
		tr.at[change.Revision] = value
		if err != nil {
			tr.bad[change.Revision] = err.Error()
		} else {
			delete(tr.bad, change.Revision)
		}
	}
	return tr
}

func (c *configRun) decode(keys map[string]string) (twins, error) {
	var d twins
	if !c.perField {
		var doc struct {
			N, Twin   int
			Mark, Saw string
			Extra     map[string]int
		}
		text, ok := keys["doc"]
		if !ok {
			return d, nil
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return d, err
		}
		d = twins(doc)
		return d, d.Validate()
	}
	for key, text := range keys {
		name, ok := strings.CutPrefix(key, "keys/")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		switch extra, isExtra := strings.CutPrefix(name, "extra/"); {
		case name == "mark":
			d.Mark = text
		case name == "saw":
			d.Saw = text
		case err != nil:
			return d, err
		case name == "n":
			d.N = n
		case name == "twin":
			d.Twin = n
		case isExtra:
			if d.Extra == nil {
				d.Extra = map[string]int{}
			}
			d.Extra[extra] = n
		}
	}
	return d, d.Validate()
}

// asOf is the revision of the last change up to one.
func (tr committed) asOf(revision int64) int64 {
	i, found := slices.BinarySearch(tr.revisions, revision)
	if found {
		return revision
	}
	return tr.revisions[i-1]
}

func (c *configRun) check() (out []history.Violation) {
	tell := func(rule string, l look, format string, args ...any) {
		out = append(out, history.Violation{Rule: rule, Name: "twins", At: l.at, Text: l.process + ": " + fmt.Sprintf(format, args...)})
	}
	for _, gap := range c.gaps {
		tell("blind", look{at: c.end}, "%s", gap)
	}
	tr := c.committed()
	newest := map[string]int64{}
	for _, l := range c.looks {
		rev := tr.asOf(l.revision)
		want := tr.at[rev]
		switch {
		case tr.bad[rev] != "":
			tell("C1", l, "saw revision %d, which is bad: %s", l.revision, tr.bad[rev])
		case !sameTwins(want, l.value):
			tell("C1", l, "saw %+v at revision %d, which is %+v", l.value, l.revision, want)
		}
		if l.revision < newest[l.process] {
			tell("C2", l, "saw revision %d after %d", l.revision, newest[l.process])
		}
		newest[l.process] = max(newest[l.process], l.revision)
	}
	for process, l := range c.last {
		if l.revision < c.final || l.value.Mark != "operator-final" || l.source != config.FromEtcd {
			l.at = c.end
			tell("C3", l, "%s has %+v of revision %d from %s; the last is %d", process, l.value, l.revision, l.source, c.final)
		}
	}
	return append(out, c.checkUpdates(tr)...)
}

func sameTwins(a, b twins) bool {
	return a.N == b.N && a.Twin == b.Twin && a.Mark == b.Mark && a.Saw == b.Saw &&
		(len(a.Extra) == 0 && len(b.Extra) == 0 || reflect.DeepEqual(a.Extra, b.Extra))
}

// checkUpdates: every update in etcd was computed from what was there right
// before it, and is there exactly if its caller was told so.
func (c *configRun) checkUpdates(tr committed) (out []history.Violation) {
	tell := func(u update, format string, args ...any) {
		out = append(out, history.Violation{Rule: "C4", Name: "twins", At: u.at, Text: u.process + ": " + fmt.Sprintf(format, args...)})
	}
	made := map[string]int64{} // mark to revision
	for i, rev := range tr.revisions[1:] {
		was, is := tr.at[tr.revisions[i]], tr.at[rev]
		if tr.bad[rev] != "" || is.Mark == was.Mark || strings.HasPrefix(is.Mark, "operator") {
			continue
		}
		made[is.Mark] = rev
		if is.Saw != was.Mark || is.N != was.N+1 {
			tell(update{process: is.Mark}, "revision %d was computed from %q with n %d, and written over %q with n %d", rev, is.Saw, is.N-1, was.Mark, was.N)
		}
	}
	for _, u := range c.updates {
		for i, mark := range u.marks {
			rev, there := made[mark]
			last := i == len(u.marks)-1
			switch {
			case u.err == nil && last && rev != u.revision:
				tell(u, "was told revision %d, and is at %d", u.revision, rev)
			case there && !last:
				tell(u, "attempt %d of %d was made too, at revision %d", i+1, len(u.marks), rev)
			case there && u.err != nil && !errors.Is(u.err, config.ErrUnknown):
				tell(u, "is at revision %d, and its caller was told: %v", rev, u.err)
			}
		}
	}
	return out
}
