package keys

import "strings"

// A Pool is the prefix of everything that a group of workers keeps in etcd.
//
//	pools/<name>/
//	  leader/<lease>       the election among the workers
//	  members/<worker>     a worker that is there, under its lease
//	  assigned/<worker>    the shards that it is to own
//	  owners/<shard>       the worker that owns a shard, under its lease
//	  plan                 what the leader has to say about the whole
type Pool string

// Pools is the prefix of all pools.
func (s Space) Pools() string { return string(s) + "pools/" }

// Pool is the prefix of one pool.
func (s Space) Pool(name string) (Pool, error) {
	prefix, err := below(s.Pools(), name)
	return Pool(prefix), err
}

// Leader is where the election of the pool's leader is, without a slash.
func (p Pool) Leader() string { return string(p) + "leader" }

// Plan is the key with the leader's account.
func (p Pool) Plan() string { return string(p) + "plan" }

// A Kind of key in a pool is a folder whose names are escaped.
type Kind string

// The kinds of keys that stand for something with a name.
const (
	Members  Kind = "members/"
	Assigned Kind = "assigned/"
	Owners   Kind = "owners/"
)

// Key is the key of a kind for a name that Escape takes.
func (p Pool) Key(kind Kind, name string) string {
	segment, err := Escape(name)
	if err != nil {
		panic("keys: " + err.Error()) // checked where the name came in
	}
	return string(p) + string(kind) + segment
}

// Parse returns the kind and the name in a key that Key made, and false for
// any other.
func (p Pool) Parse(key string) (kind Kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, string(p))
	if !ok {
		return "", "", false
	}
	for _, kind := range []Kind{Members, Assigned, Owners} {
		if segment, ok := strings.CutPrefix(rest, string(kind)); ok {
			name, err := Unescape(segment)
			return kind, name, err == nil
		}
	}
	return "", "", false
}
