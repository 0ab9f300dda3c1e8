package config

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func event(key, value string, rev int64) *clientv3.Event {
	ev := &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: rev}}
	if value == "" {
		ev.Type = clientv3.EventTypeDelete
	}
	return ev
}

func TestContentFollowsEventsAndIsNeverChanged(t *testing.T) {
	p := newPlace("/t/config/x/", options{perField: true, history: 1})
	first := content{}.with(p, []*clientv3.Event{event("/t/config/x/live/keys/a", "1", 5), event("/t/config/x/live/head", "{}", 5)})
	require.Equal(t, map[string]string{"a": "1"}, first.Fields)
	second := first.with(p, []*clientv3.Event{event("/t/config/x/live/keys/a", "", 6), event("/t/config/x/live/keys/b/c", "2", 6)})
	require.Equal(t, map[string]string{"b/c": "2"}, second.Fields)
	require.EqualValues(t, 6, second.revision)
	require.Equal(t, map[string]string{"a": "1"}, first.Fields)
	require.EqualValues(t, 7, second.with(p, []*clientv3.Event{event("/t/config/x/live/head", "{}", 7)}).revision,
		"the head tells of what cannot be seen any more")

	p = newPlace("/t/config/x/", options{history: 1})
	doc := content{}.with(p, []*clientv3.Event{event(p.doc, "{}", 5)})
	require.Equal(t, "{}", *doc.Doc)
	require.Nil(t, doc.with(p, []*clientv3.Event{event(p.doc, "", 6)}).Doc)
}

func TestEventsAreTakenOneRevisionAtATime(t *testing.T) {
	groups := byRevision([]*clientv3.Event{event("a", "1", 1), event("b", "1", 1), event("a", "2", 2), event("a", "3", 3), event("b", "3", 3)})
	var sizes []int
	for _, g := range groups {
		sizes = append(sizes, len(g))
	}
	require.Equal(t, []int{2, 1, 2}, sizes)
	require.Empty(t, byRevision(nil))
}

func TestSlotsOfTheHistoryAreUsedInRotation(t *testing.T) {
	p := newPlace("/t/config/x/", options{history: 3})
	require.Equal(t, p.slot(1), p.slot(4))
	require.NotEqual(t, p.slot(1), p.slot(3))
}

func TestASharePicksThatShareAndALargerOneIncludesIt(t *testing.T) {
	counts := map[float64]int{}
	for i := range 10_000 {
		name := Instance{Name: fmt.Sprintf("instance-%d", i)}
		before := false
		for _, share := range []float64{0.05, 0.5, 1} {
			chosen := Selection{Share: share}.Chooses("change", name)
			require.True(t, chosen || !before)
			before = chosen
			if chosen {
				counts[share]++
			}
		}
	}
	require.InDelta(t, 500, counts[0.05], 100)
	require.InDelta(t, 5000, counts[0.5], 300)
	require.Equal(t, 10_000, counts[1])
}

func TestASelectionChoosesByNameOrByAllLabels(t *testing.T) {
	i := Instance{Name: "a", Labels: map[string]string{"region": "eu", "tier": "canary"}}
	for _, c := range []struct {
		s    Selection
		want bool
	}{
		{Selection{}, false},
		{Selection{Names: []string{"b", "a"}}, true},
		{Selection{Names: []string{"b"}}, false},
		{Selection{Labels: map[string]string{"region": "eu"}}, true},
		{Selection{Labels: map[string]string{"region": "eu", "tier": "canary"}}, true},
		{Selection{Labels: map[string]string{"region": "eu", "tier": "x"}}, false},
		{Selection{Labels: map[string]string{"other": ""}}, false},
	} {
		require.Equal(t, c.want, c.s.Chooses("id", i), "%+v", c.s)
	}
}

func TestABodyIsPackedAndUnpacked(t *testing.T) {
	doc := strings.Repeat("abc", 100_000)
	for _, b := range []body{{}, {Doc: &doc}, {Fields: map[string]string{"a/b": "c"}}} {
		packed, err := b.pack()
		require.NoError(t, err)
		back, err := unpack(packed)
		require.NoError(t, err)
		require.True(t, b.equal(back))
	}
	_, err := unpack([]byte("nonsense"))
	require.Error(t, err)
}

func FuzzUnpack(f *testing.F) {
	packed, _ := body{Fields: map[string]string{"a": "b"}}.pack()
	f.Add(packed)
	f.Fuzz(func(t *testing.T, packed []byte) {
		b, err := unpack(packed)
		if err == nil {
			again, err := b.pack()
			require.NoError(t, err)
			back, err := unpack(again)
			require.NoError(t, err)
			require.True(t, b.equal(back))
		}
	})
}

func FuzzStage(f *testing.F) {
	f.Add([]byte(`{"id": "x", "packed": ""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStage(text)
		require.True(t, (s == nil) == (err != nil))
	})
}

func TestCiphertextOpensOnlyWhereItBelongs(t *testing.T) {
	key := make([]byte, KeySize)
	_, err := rand.Read(key)
	require.NoError(t, err)
	c, err := AESGCM(key)
	require.NoError(t, err)
	text, err := EncryptField(c, "limits", "db.password", "hunter2")
	require.NoError(t, err)
	require.NotContains(t, text, "hunter2")
	plain, err := decryptField(c, "limits", "db.password", text)
	require.NoError(t, err)
	require.Equal(t, "hunter2", plain)
	again, err := EncryptField(c, "limits", "db.password", "hunter2")
	require.NoError(t, err)
	require.NotEqual(t, text, again, "equal texts do not look equal")

	for _, where := range [][2]string{{"limits", "db.user"}, {"other", "db.password"}} {
		_, err := decryptField(c, where[0], where[1], text)
		require.ErrorContains(t, err, "cannot be decrypted")
	}
	for i := range len(text) {
		damaged := []byte(text)
		damaged[i] ^= 1
		plain, err := decryptField(c, "limits", "db.password", string(damaged))
		require.True(t, err != nil || plain == string(damaged), "byte %d", i) // the mark itself: not encrypted then
	}
	_, err = decryptField(nil, "limits", "x", text)
	require.ErrorContains(t, err, "no cipher")
	plain, err = decryptField(nil, "limits", "x", "clear")
	require.NoError(t, err)
	require.Equal(t, "clear", plain)

	other, err := AESGCM(bytes.Repeat([]byte{9}, KeySize), key)
	require.NoError(t, err)
	plain, err = decryptField(other, "limits", "db.password", text)
	require.NoError(t, err, "an old key still opens")
	require.Equal(t, "hunter2", plain)

	_, err = AESGCM()
	require.ErrorIs(t, err, ErrConfig)
	_, err = AESGCM([]byte("short"))
	require.ErrorIs(t, err, ErrConfig)
	_, err = parseKey("here", NewKey()+"\n")
	require.NoError(t, err)
	_, err = parseKey("here", "c2hvcnQ=")
	require.ErrorContains(t, err, "here is not 32 bytes in base64")
}
