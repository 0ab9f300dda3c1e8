package groupcommit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// of makes a request from a line such as "a? b! c." that compares a, writes b and
// reads c.
func of(line string) *request {
	var t Txn
	for word := range strings.FieldsSeq(line) {
		key, what := word[:len(word)-1], word[len(word)-1]
		switch what {
		case '?':
			t.If = append(t.If, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		case '!':
			t.Then = append(t.Then, clientv3.OpPut(key, ""))
		case '-':
			t.Then = append(t.Then, clientv3.OpDelete(key))
		case '.':
			t.Else = append(t.Else, clientv3.OpGet(key))
		}
	}
	return &request{txn: t}
}

func TestOnlyWhatDoesNotClashGoesTogether(t *testing.T) {
	for _, c := range []struct {
		name, requests, first, second string
	}{
		{"strangers", "a? a! | b? b! | c-", "a? a! | b? b! | c-", ""},
		{"both write", "a! | a!", "a!", "a!"},
		{"one writes, one deletes", "a! | a-", "a!", "a-"},
		{"one compares what the other writes", "a! | a? b!", "a!", "a? b!"},
		{"one writes what the other compares", "a? b! | a!", "a? b!", "a!"},
		{"one reads what the other writes", "a! | a. b!", "a!", "a. b!"},
		{"both compare", "f? a! | f? b!", "f? a! | f? b!", ""},
		{"crosswise", "a? b! | b? a!", "a? b!", "b? a!"},
		{"strangers overtake", "a! | a? b! | c!", "a! | c!", "a? b!"},
		{"who clashes with one that waits does not overtake it", "a! | a? b! | b! | c!", "a! | c!", "a? b!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pending []*request
			names := map[*request]string{}
			for line := range strings.SplitSeq(c.requests, " | ") {
				r := of(line)
				names[r] = line
				pending = append(pending, r)
			}
			list := func(b *batch) string {
				var lines []string
				for _, r := range b.requests {
					lines = append(lines, names[r])
				}
				return strings.Join(lines, " | ")
			}
			first, left := gather(pending)
			require.Equal(t, c.first, list(first))
			second, _ := gather(left)
			require.Equal(t, c.second, list(second))
		})
	}
}

func TestABatchStaysWithinWhatEtcdTakes(t *testing.T) {
	var pending []*request
	for i := range 100 {
		pending = append(pending, of(fmt.Sprintf("k%d!", i)))
	}
	first, left := gather(pending)
	require.Len(t, first.requests, maxTxns)
	second, left := gather(left)
	require.Len(t, second.requests, 100-maxTxns)
	require.Empty(t, left)

	large := &request{txn: Txn{Then: []clientv3.Op{clientv3.OpPut("large", strings.Repeat("x", maxBytes))}}}
	first, left = gather([]*request{of("a!"), large, of("b!")})
	require.Len(t, first.requests, 2)
	require.Equal(t, []*request{large}, left)
	alone, _ := gather(left)
	require.Equal(t, []*request{large}, alone.requests, "it goes alone, whatever its size")
}
