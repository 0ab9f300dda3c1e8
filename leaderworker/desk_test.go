package leaderworker

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// The transcripts in testdata are conversations with a desk: lines that begin
// with ">" are its orders after the line above. They are meant to be read.
func TestHandoffTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/handoff-*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := replay(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(text), got)
		})
	}
}

// replay returns the transcript with the orders that the code gives.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	d := newDesk()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ">") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			if line == "" {
				d = newDesk()
			}
			continue
		}
		orders := tell(t, d, line)
		for _, o := range orders {
			fmt.Fprintln(&out, ">", describe(o))
		}
		if len(orders) == 0 {
			fmt.Fprintln(&out, "> nothing")
		}
	}
	return out.String()
}

func describe(o order) string {
	if o.revision == 0 {
		return verbNames[o.do] + " " + o.shard
	}
	return fmt.Sprintf("%s %s@%d", verbNames[o.do], o.shard, o.revision)
}

func tell(t *testing.T, d *desk, line string) []order {
	words := strings.Fields(line)
	shard, rev, _ := strings.Cut(strings.Join(words[1:min(2, len(words))], ""), "@")
	revision, _ := strconv.ParseInt(rev, 10, 64)
	switch words[0] {
	case "assign":
		set := map[string]bool{}
		for _, shard := range words[1:] {
			set[shard] = true
		}
		return d.Assign(set)
	case "join":
		return d.Join()
	case "part":
		d.Part()
		return nil
	case "claimed":
		return d.Claimed(shard, revision)
	case "taken":
		return d.Taken(shard)
	case "failed":
		return d.Failed(shard)
	case "gone":
		return d.Gone(shard)
	case "lost":
		return d.Lost(shard, revision)
	case "returned":
		return d.Returned(shard)
	case "released":
		return d.Released(shard)
	case "late":
		return d.Late(shard, revision)
	}
	require.FailNow(t, "not understood", line)
	return nil
}

// Random answers in any order that a desk can meet: it never orders what makes
// no sense, a key is given up only after Work has returned, and once everything
// is answered, what is assigned is worked on and nothing else is left.
func TestADeskEndsWithWhatIsAssigned(t *testing.T) {
	for seed := range uint64(3000) {
		playDesk(t, seed)
	}
}

func FuzzADeskEndsWithWhatIsAssigned(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { playDesk(t, seed) })
}

// A stage plays everything around a desk: etcd, Work, and the leader.
type stage struct {
	t       *testing.T
	desk    *desk
	rnd     *rand.Rand
	rev     int64
	joined  bool
	set     map[string]bool
	pending []func() []order // answers that are still to come
	keys    map[string]int64 // owner keys of this worker
	foreign map[string]bool  // owner keys of others
	works   map[string]int64 // running Work, by the revision that it was started with
	told    map[string]bool  // works whose contexts have ended: they return some time
}

func playDesk(t *testing.T, seed uint64) {
	s := &stage{t: t, desk: newDesk(), rnd: rand.New(rand.NewPCG(seed, 1)), set: map[string]bool{},
		keys: map[string]int64{}, foreign: map[string]bool{}, works: map[string]int64{}, told: map[string]bool{}}
	for range 60 {
		s.step()
	}
	clear(s.foreign) // whoever else owned something has released it
	s.do(s.desk.Join())
	s.joined = true
	for len(s.pending) > 0 {
		s.answer()
	}
	owned := slices.Sorted(maps.Keys(s.works))
	require.Equal(t, slices.Sorted(maps.Keys(s.set)), owned, "seed %d", seed)
	require.Equal(t, owned, slices.Sorted(maps.Keys(s.keys)), "seed %d", seed)
	for shard, h := range s.desk.shards {
		require.Equal(t, working, h.phase, "seed %d: %s", seed, shard)
		require.Equal(t, s.keys[shard], h.revision)
	}
	s.do(s.desk.Assign(nil))
	for len(s.pending) > 0 {
		s.answer()
	}
	require.True(t, s.desk.Idle(), "seed %d", seed)
	require.Empty(t, s.keys)
	require.Empty(t, s.works)
}

func (s *stage) step() {
	shard := strconv.Itoa(s.rnd.IntN(4))
	switch s.rnd.IntN(8) {
	case 0, 1:
		s.set = map[string]bool{}
		for i := range 4 {
			if s.rnd.IntN(2) == 0 {
				s.set[strconv.Itoa(i)] = true
			}
		}
		s.do(s.desk.Assign(s.set))
	case 2:
		if s.joined = !s.joined; s.joined {
			s.do(s.desk.Join())
			return
		}
		s.desk.Part() // and the lease with everything that hangs on it is gone
		for _, shard := range slices.Sorted(maps.Keys(s.keys)) {
			revision := s.keys[shard]
			delete(s.keys, shard)
			s.tell(shard)
			s.later(func() []order { return s.desk.Lost(shard, revision) })
		}
	case 3:
		if _, ours := s.keys[shard]; !ours {
			s.foreign[shard] = !s.foreign[shard]
		}
	case 4:
		if revision, ok := s.works[shard]; ok {
			s.do(s.desk.Late(shard, revision))
		}
	default:
		if len(s.pending) > 0 {
			s.answer()
		}
	}
}

// answer lets one of the answers come that are still to come.
func (s *stage) answer() {
	i := s.rnd.IntN(len(s.pending))
	f := s.pending[i]
	s.pending = slices.Delete(s.pending, i, i+1)
	s.do(f())
}

func (s *stage) later(f func() []order) { s.pending = append(s.pending, f) }

func (s *stage) do(orders []order) {
	for _, o := range orders {
		switch o.do {
		case doClaim:
			s.later(func() []order { return s.claim(o.shard) })
		case doAwait:
			s.await(o.shard)
		case doStart:
			require.NotContains(s.t, s.works, o.shard, "two works of one shard")
			s.works[o.shard] = o.revision
			if s.keys[o.shard] != o.revision { // lost before it has begun
				s.tell(o.shard)
			}
		case doStop:
			s.tell(o.shard)
		case doRelease:
			require.NotContains(s.t, s.works, o.shard, "released while Work runs")
			s.later(func() []order {
				if s.keys[o.shard] == o.revision {
					delete(s.keys, o.shard)
				}
				return s.desk.Released(o.shard)
			})
		}
	}
}

func (s *stage) claim(shard string) []order {
	switch {
	case !s.joined:
		return s.desk.Failed(shard)
	case s.foreign[shard]:
		return s.desk.Taken(shard)
	}
	require.NotContains(s.t, s.keys, shard)
	s.rev++
	s.keys[shard] = s.rev
	return s.desk.Claimed(shard, s.rev)
}

func (s *stage) await(shard string) {
	s.later(func() []order {
		if s.foreign[shard] {
			s.await(shard)
			return nil
		}
		return s.desk.Gone(shard)
	})
}

// tell ends the context of a shard's Work, which then returns some time.
func (s *stage) tell(shard string) {
	if _, running := s.works[shard]; !running || s.told[shard] {
		return
	}
	s.told[shard] = true
	s.later(func() []order {
		delete(s.works, shard)
		delete(s.told, shard)
		return s.desk.Returned(shard)
	})
}
