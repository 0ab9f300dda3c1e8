package waitqueue

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// The transcripts in testdata are conversations with a Place: a line that
// begins with ">" is its answer to the line above. They are meant to be read.
//
//	enter OWN@REV front [whole]: KEY@REV ...   the entering transaction's view;
//	                                           "movable": of a key that may be moved
//	look@REV [whole]: KEY@REV ...              what a read has shown
//	ended@REV                                  the awaited key is gone
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
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

// replay returns the transcript with the answers that the code gives.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	var place Place
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ">") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fmt.Fprintln(&out, ">", describe(converse(t, &place, line)))
	}
	return out.String()
}

var keyAt = regexp.MustCompile(`(\w+)@(\d+)`)

func converse(t *testing.T, place *Place, line string) Step {
	said, shown, _ := strings.Cut(line, ":")
	subject := keysIn(t, said)
	require.Len(t, subject, 1, line)
	view := View{Revision: subject[0].Create, Keys: keysIn(t, shown), Whole: strings.Contains(said, " whole")}
	switch strings.Fields(said)[0] {
	case "enter":
		view.Front = true
		*place = Place{movable: strings.Contains(said, " movable")}
		return place.Enter(subject[0], view)
	case fmt.Sprintf("look@%d", view.Revision):
		return place.Looked(view)
	case fmt.Sprintf("ended@%d", view.Revision):
		return place.Ended(view.Revision)
	}
	require.FailNow(t, "not understood", line)
	return Step{}
}

func keysIn(t *testing.T, text string) []Key {
	var keys []Key
	for _, match := range keyAt.FindAllStringSubmatch(text, -1) {
		create, err := strconv.ParseInt(match[2], 10, 64)
		require.NoError(t, err)
		keys = append(keys, Key{Name: match[1], Create: create})
	}
	return keys
}

func describe(s Step) string {
	switch s.Do {
	case Look:
		return fmt.Sprintf("look, at revision %d or later", s.At)
	case Await:
		return fmt.Sprintf("await the end of %s@%d", s.Behind.Name, s.Behind.Create)
	case Granted:
		return "granted"
	}
	return "evicted"
}

// However views are cut and whoever leaves in between, a place is granted only
// when nobody with a lower create revision is left.
func TestNobodyIsGrantedWhileSomebodyIsAhead(t *testing.T) {
	for pattern := range 1 << 6 { // who leaves while we wait for the one right ahead
		queue := []Key{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}, {"f", 6}}
		own := Key{"own", 7}
		var place Place
		step := place.Enter(own, View{Revision: 7, Keys: queue[:3], Front: true})
		for rev := int64(8); step.Do != Granted; rev++ {
			require.Less(t, rev, int64(50))
			switch step.Do {
			case Look:
				shown := append([]Key{own}, queue[max(0, len(queue)-2):]...)
				step = place.Looked(View{Revision: rev, Keys: shown, Whole: len(queue) <= 2})
			case Await:
				var left []Key
				for i, k := range queue {
					if k != step.Behind && pattern>>i&1 == 0 {
						left = append(left, k)
					}
				}
				queue = left
				step = place.Ended(rev)
			default:
				require.FailNow(t, "evicted")
			}
		}
		require.Empty(t, queue, "pattern %b", pattern)
	}
}
