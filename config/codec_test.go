package config

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gotenure/tenure/config/internal/tree"
)

func TestTheFormatsSayTheSame(t *testing.T) {
	want := map[string]any{
		"n": json.Number("5"), "big": json.Number("9007199254740993"), "f": json.Number("1.5"), "on": true, "text": "x",
		"list": []any{json.Number("1"), "a"}, "map": map[string]any{"k": "v", "1": "one"}, "when": "2026-01-02T03:04:05Z",
	}
	for codec, document := range map[Codec]string{
		JSON: `{"n": 5, "big": 9007199254740993, "f": 1.5, "on": true, "text": "x", "list": [1, "a"], "map": {"k": "v", "1": "one"}, "when": "2026-01-02T03:04:05Z"}`,
		YAML: "n: 5\nbig: 9007199254740993\nf: 1.5\non: true\ntext: x\nlist: [1, a]\nmap:\n  k: v\n  1: one\nwhen: 2026-01-02T03:04:05Z\n",
		TOML: "n = 5\nbig = 9007199254740993\nf = 1.5\non = true\ntext = 'x'\nlist = [1, 'a']\nwhen = 2026-01-02T03:04:05Z\n[map]\nk = 'v'\n1 = 'one'\n",
	} {
		got, err := decodeDocument(codec, []byte(document))
		require.NoError(t, err, codec.Name())
		require.Equal(t, want, got, codec.Name())
		text, err := codec.Encode(got)
		require.NoError(t, err, codec.Name())
		again, err := decodeDocument(codec, text)
		require.NoError(t, err, codec.Name())
		require.Equal(t, want, again, codec.Name())
	}
}

func TestErrorsOfDocumentsNameTheFormatAndTheLine(t *testing.T) {
	for codec, documents := range map[Codec]map[string]string{
		JSON: {"{\n\"a\": 1,\n}": "JSON: line 3", "{} {}": "JSON: line 1: there is more", "": "JSON: line 1: it is empty", "[]": "not a map", "{\n": "JSON: line 2"},
		YAML: {"a: 1\nb: [\n": "YAML: yaml: line ", "a: 1\na: 2\n": "line 2", "a: 1\n---\nb: 2\n": "more than one document", "- a": "not a map"},
		TOML: {"a = 1\nb = \n": "TOML: line 2", "a = 1\na = 2\n": "TOML: line 2"},
	} {
		for document, says := range documents {
			_, err := decodeDocument(codec, []byte(document))
			require.ErrorContains(t, err, says, "%s %q", codec.Name(), document)
		}
	}
}

func TestEmptyDocumentsHaveNoFields(t *testing.T) {
	for codec, document := range map[Codec]string{JSON: "null", YAML: "# nothing\n", TOML: ""} {
		got, err := decodeDocument(codec, []byte(document))
		require.NoError(t, err)
		require.Empty(t, got)
	}
}

func TestTOMLCannotSayThatSomethingIsRemoved(t *testing.T) {
	_, err := TOML.Encode(map[string]any{"a": map[string]any{"b": nil}})
	require.ErrorContains(t, err, "a.b: TOML cannot say")
	require.ErrorIs(t, shadowed(err), ErrShadowed)
}

func TestADocumentOfAliasesThatGrowsWithoutBoundIsRefused(t *testing.T) {
	document := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		document += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+p+",", 10), ",") + "]\n"
	}
	_, err := decodeDocument(YAML, []byte(document))
	require.ErrorContains(t, err, "excessive aliasing")
}

type brokenCodec struct{ returns any }

func (brokenCodec) Name() string { return "broken" }

func (c brokenCodec) Decode([]byte) (map[string]any, error) {
	if c.returns == nil {
		panic("no")
	}
	return map[string]any{"a": map[string]any{"b": c.returns}}, nil
}

func (brokenCodec) Encode(map[string]any) ([]byte, error) { return nil, errors.New("no") }

func TestACodecThatPanicsOrReturnsNonsenseIsAnError(t *testing.T) {
	_, err := decodeDocument(brokenCodec{}, nil)
	require.ErrorContains(t, err, "broken: panic: no")
	_, err = decodeDocument(brokenCodec{make(chan int)}, nil)
	require.ErrorContains(t, err, "a.b: the codec returned a chan int")
	got, err := decodeDocument(brokenCodec{uint8(3)}, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": map[string]any{"b": json.Number("3")}}, got)
}

type sample struct {
	N    int64
	F    float64
	Text string
	List []string
	Map  map[string]sample
	Any  any
}

func FuzzJSON(f *testing.F) {
	fuzzCodec(f, JSON, `{"n": 1, "map": {"x": {"text": "y"}}}`, `{"f": 1e400}`, `{"n": "x"}`)
}
func FuzzYAML(f *testing.F) {
	fuzzCodec(f, YAML, "n: 1\nlist: [a, b]\n", "a: &x [1]\nb: *x\n", "f: .inf\n", "? [a]\n: b\n", "n: 0x1F")
}
func FuzzTOML(f *testing.F) {
	fuzzCodec(f, TOML, "n = 1\n[map.x]\ntext = 'y'\n", "any = 1979-05-27\n", "f = nan\n")
}

// fuzzCodec: no panic, and either an error that says where, or a value that
// survives being written.
func fuzzCodec(f *testing.F, codec Codec, seeds ...string) {
	schema, err := tree.NewSchema(reflect.TypeFor[sample]())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		doc, err := decodeDocument(codec, document)
		if err != nil {
			require.NotContains(t, err.Error(), "panic:")
			require.Regexp(t, `line \d|yaml: |:`, err.Error())
			return
		}
		v, err := schema.Decode(doc, tree.Reading{})
		if err != nil {
			var field *FieldError
			require.ErrorAs(t, err, &field)
			return
		}
		encoded, err := schema.Encode(v.Elem())
		if err != nil {
			return // an infinite number in an any
		}
		text, err := codec.Encode(encoded)
		if err != nil {
			return // JSON has no infinite numbers
		}
		again, err := decodeDocument(codec, text)
		require.NoError(t, err, "%s", text)
		v2, err := schema.Decode(again, tree.Reading{Strict: true})
		require.NoError(t, err, "%s", text)
		if !hasNaN(v.Elem().Interface().(sample)) && v.Elem().Interface().(sample).Any == nil {
			require.Empty(t, schema.Diff(tree.Prune(encoded), tree.Prune(mustEncode(t, schema, v2))), "%s", text)
		}
	})
}

func mustEncode(t *testing.T, schema *tree.Schema, v reflect.Value) map[string]any {
	encoded, err := schema.Encode(v.Elem())
	require.NoError(t, err)
	return encoded
}

func hasNaN(s sample) bool {
	for _, below := range s.Map {
		if hasNaN(below) {
			return true
		}
	}
	return math.IsNaN(s.F)
}
