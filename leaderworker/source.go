package leaderworker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Bounds of what a pool can have. A worker's assignment is one value in etcd,
// so the names of all shards must fit twice into a request.
const (
	MaxShards     = 100_000
	MaxShardName  = 256        // bytes
	MaxNamesTotal = 512 * 1024 // bytes of all names, quoted as in JSON
	MaxWeight     = 1_000_000  // of a shard, and of a worker's share and capacity
)

// A ShardSpec is a shard as the leader gets to know it.
type ShardSpec struct {
	Name string
	// Weight is how much of a worker it takes, in any unit; 1 if it is 0.
	Weight int
	// Require are the labels that its worker must have.
	Require map[string]string
}

// A Source says which shards there are: Numbered, Listed or Changing. All
// workers of a pool should have equal ones; the leader's counts.
type Source struct {
	run func(ctx context.Context, set func([]ShardSpec) error) error
	err error
}

// Numbered is a source of n shards of weight 1 with the names "0" to n-1.
func Numbered(n int) Source {
	if n < 1 || n > MaxShards {
		return Source{err: fmt.Errorf("%d shards are not between 1 and %d", n, MaxShards)}
	}
	specs := make([]ShardSpec, n)
	for i := range specs {
		specs[i].Name = strconv.Itoa(i)
	}
	return Listed(specs...)
}

// Listed is a source of these shards, which never change.
func Listed(shards ...ShardSpec) Source {
	shards, err := checked(shards)
	return Source{err: err, run: func(_ context.Context, set func([]ShardSpec) error) error { return set(shards) }}
}

// Changing is a source of shards that come and go. The function is called in
// whichever process leads, for the time of its term: ctx ends with the term. It
// calls set with all the shards there are, and again whenever they change; a
// shard that is no longer among them is revoked. Until the first call nothing is
// assigned and nothing is revoked.
//
// set returns an error that matches ErrConfig, and changes nothing, if the
// shards cannot work. A function that returns nil is done, and the last set
// stays. If it returns an error it is called again after a pause.
func Changing(f func(ctx context.Context, set func([]ShardSpec) error) error) Source {
	if f == nil {
		return Source{err: fmt.Errorf("the function that says which shards there are is nil")}
	}
	return Source{run: f}
}

// checked returns the shards in the order of their names, or why they cannot
// work.
func checked(shards []ShardSpec) ([]ShardSpec, error) {
	if len(shards) > MaxShards {
		return nil, fmt.Errorf("%d shards are more than %d", len(shards), MaxShards)
	}
	shards = slices.Clone(shards)
	slices.SortFunc(shards, func(a, b ShardSpec) int { return cmp.Compare(a.Name, b.Name) })
	total := 0
	for i, s := range shards {
		switch {
		case s.Name == "" || len(s.Name) > MaxShardName || !utf8.ValidString(s.Name):
			return nil, fmt.Errorf("a shard's name has 1 to %d bytes of UTF-8, unlike %q", MaxShardName, s.Name)
		case i > 0 && shards[i-1].Name == s.Name:
			return nil, fmt.Errorf("there are two shards %q", s.Name)
		case s.Weight < 0 || s.Weight > MaxWeight:
			return nil, fmt.Errorf("shard %q: the weight %d is not between 0 and %d", s.Name, s.Weight, MaxWeight)
		}
		total += quoted(s.Name)
	}
	if total > MaxNamesTotal {
		return nil, fmt.Errorf("the names of the shards take %d bytes, more than %d: use shorter ones", total, MaxNamesTotal)
	}
	return shards, nil
}

// quoted is the size of a name in a list in JSON.
func quoted(name string) int {
	text, err := json.Marshal(name)
	if err != nil {
		panic("leaderworker: encode a name: " + err.Error()) // a string
	}
	return len(text) + 1
}
