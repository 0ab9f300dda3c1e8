package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/gotenure/tenure/config/internal/tree"
)

// A Codec reads and writes documents of one format. JSON, YAML and TOML are
// here. It must be safe for concurrent use.
type Codec interface {
	// Name is what errors call the format.
	Name() string
	// Decode reads a document into maps, slices, strings, bools, numbers,
	// time.Times and nil. Its error should name the line. An empty document is
	// an empty map where the format has such a thing.
	Decode(document []byte) (map[string]any, error)
	// Encode writes a document, in which numbers are json.Numbers.
	Encode(document map[string]any) ([]byte, error)
}

// The formats.
var (
	// JSON is the default. Update writes it indented.
	JSON Codec = jsonCodec{}
	// YAML is version 1.2, mostly, and one document. Update loses comments.
	YAML Codec = yamlCodec{}
	// TOML is version 1.0. It has no null. Update loses comments.
	TOML Codec = tomlCodec{}
)

// codecFor is the format that a file's name ends in.
func codecFor(path string) (Codec, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".json":
		return JSON, nil
	case ".yaml", ".yml":
		return YAML, nil
	case ".toml":
		return TOML, nil
	default:
		return nil, fmt.Errorf("the format of %q is none of .json, .yaml, .yml, .toml", path)
	}
}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "JSON" }

func (jsonCodec) Decode(document []byte) (map[string]any, error) {
	t, err := tree.ParseJSON(document)
	if err != nil {
		return nil, err
	}
	return root(t)
}

func (jsonCodec) Encode(document map[string]any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(document)
	return out.Bytes(), err
}

type yamlCodec struct{}

func (yamlCodec) Name() string { return "YAML" }

func (yamlCodec) Decode(document []byte) (map[string]any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(document))
	var t any
	err := decoder.Decode(&t)
	if errors.Is(err, io.EOF) {
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: more than one document", max(more.Line, 1))
	}
	return root(t)
}

func (yamlCodec) Encode(document map[string]any) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(native(document)); err != nil {
		return nil, err
	}
	err := encoder.Close()
	return out.Bytes(), err
}

type tomlCodec struct{}

func (tomlCodec) Name() string { return "TOML" }

func (tomlCodec) Decode(document []byte) (map[string]any, error) {
	t := make(map[string]any)
	if err := toml.Unmarshal(document, &t); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return nil, fmt.Errorf("line %d: %w", row, err)
		}
		return nil, err
	}
	return t, nil
}

func (tomlCodec) Encode(document map[string]any) ([]byte, error) {
	if path := findNil(nil, document); path != nil {
		return nil, &FieldError{Path: path.String(), Problem: "TOML cannot say that something is removed"}
	}
	return toml.Marshal(native(document))
}

func findNil(at tree.Path, t map[string]any) tree.Path {
	for key, part := range t {
		path := at.Join(key)
		if part == nil {
			return path
		}
		if branch, ok := part.(map[string]any); ok {
			if found := findNil(path, branch); found != nil {
				return found
			}
		}
	}
	return nil
}

// root makes sure that a document is a map; null is an empty one.
func root(t any) (map[string]any, error) {
	switch t := t.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return t, nil
	case map[any]any:
		return textKeys(t), nil
	}
	return nil, errors.New("line 1: the document is not a map of fields")
}

func textKeys(m map[any]any) map[string]any {
	out := make(map[string]any, len(m))
	for key, part := range m {
		out[fmt.Sprint(key)] = part
	}
	return out
}

// native is the way back: numbers of Go, which the encoders know.
func native(t any) any {
	switch t := t.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, part := range t {
			out[key] = native(part)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = native(item)
		}
		return out
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(t.String(), 10, 64); err == nil {
			return n
		}
		if f, err := t.Float64(); err == nil {
			return f
		}
		return t.String()
	case tree.Text:
		return string(t)
	}
	return t
}

// normal turns what a codec returned into a tree: one way to write a number,
// keys that are text, times as text.
func normal(at tree.Path, t any) (any, error) {
	switch t := t.(type) {
	case nil, string, bool, json.Number:
		return t, nil
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, part := range t {
			part, err := normal(at.Join(key), part)
			if err != nil {
				return nil, err
			}
			out[key] = part
		}
		return out, nil
	case map[any]any:
		return normal(at, textKeys(t))
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			item, err := normal(at.Join(strconv.Itoa(i)), item)
			if err != nil {
				return nil, err
			}
			out[i] = item
		}
		return out, nil
	case time.Time:
		return t.Format(time.RFC3339Nano), nil
	case toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return fmt.Sprint(t), nil
	}
	switch v := reflect.ValueOf(t); {
	case v.CanInt():
		return json.Number(strconv.FormatInt(v.Int(), 10)), nil
	case v.CanUint():
		return json.Number(strconv.FormatUint(v.Uint(), 10)), nil
	case v.CanFloat():
		return json.Number(strconv.FormatFloat(v.Float(), 'g', -1, 64)), nil
	}
	return nil, &FieldError{Path: at.String(), Problem: fmt.Sprintf("the codec returned a %T", t)}
}

// decodeDocument reads a document with a codec, whatever it does.
func decodeDocument(c Codec, document []byte) (t map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%s: panic: %v", c.Name(), p)
		}
	}()
	raw, err := c.Decode(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	if _, clean := c.(jsonCodec); clean {
		return raw, nil // ParseJSON has made a tree
	}
	clean, err := normal(nil, raw)
	if err != nil {
		return nil, err
	}
	return clean.(map[string]any), nil
}
