package tree

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"
)

// Encode is the way back from a value to a tree: Decode of it gives an equal
// value. Pointers, maps and slices that are nil are left out.
func (s *Schema) Encode(v reflect.Value) (map[string]any, error) {
	t, err := s.encode(nil, v)
	if err != nil {
		return nil, err
	}
	if t == nil { // a nil map
		return map[string]any{}, nil
	}
	return t.(map[string]any), nil
}

func (s *Schema) encode(at Path, v reflect.Value) (any, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch s.Kind {
	case Bool:
		return v.Bool(), nil
	case Int:
		return json.Number(strconv.FormatInt(v.Int(), 10)), nil
	case Uint:
		return json.Number(strconv.FormatUint(v.Uint(), 10)), nil
	case Float:
		return json.Number(strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())), nil
	case String:
		return v.String(), nil
	case Duration:
		return time.Duration(v.Int()).String(), nil
	case Bytes:
		if v.IsNil() {
			return nil, nil
		}
		return base64.StdEncoding.EncodeToString(v.Bytes()), nil
	case Words:
		return s.words(at, v)
	case JSON, Any:
		return viaJSON(at, v)
	case Struct:
		return s.structure(at, v)
	case Map:
		return s.mapping(at, v)
	}
	return s.list(at, v)
}

func (s *Schema) words(at Path, v reflect.Value) (any, error) {
	held := reflect.New(s.Type) // addressable, for methods of the pointer
	held.Elem().Set(v)
	if r, ok := held.Interface().(Revealer); ok {
		return r.Reveal(), nil
	}
	var text []byte
	err := safely(func() (err error) {
		text, err = held.Interface().(encoding.TextMarshaler).MarshalText()
		return err
	})
	if err != nil {
		return nil, &FieldError{Path: at.String(), Problem: err.Error(), Err: err}
	}
	return string(text), nil
}

func viaJSON(at Path, v reflect.Value) (any, error) {
	var raw []byte
	err := safely(func() (err error) {
		raw, err = json.Marshal(v.Interface())
		return err
	})
	if err != nil {
		return nil, &FieldError{Path: at.String(), Problem: err.Error(), Err: err}
	}
	return ParseJSON(raw)
}

func (s *Schema) structure(at Path, v reflect.Value) (any, error) {
	out := make(map[string]any, len(s.Fields))
	for _, f := range s.Fields {
		part, err := f.Schema.encode(at.Join(f.Name), v.FieldByIndex(f.index))
		if err != nil {
			return nil, err
		}
		if part != nil {
			out[f.Name] = part
		}
	}
	return out, nil
}

func (s *Schema) mapping(at Path, v reflect.Value) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	out := make(map[string]any, v.Len())
	for key, entry := range v.Seq2() {
		part, err := s.Elem.encode(at.Join(key.String()), entry)
		if err != nil {
			return nil, err
		}
		if part != nil {
			out[key.String()] = part
		}
	}
	return out, nil
}

func (s *Schema) list(at Path, v reflect.Value) (any, error) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil, nil
	}
	out := make([]any, v.Len())
	for i := range out {
		part, err := s.Elem.encode(at.Join(strconv.Itoa(i)), v.Index(i))
		if err != nil {
			return nil, err
		}
		out[i] = part
	}
	return out, nil
}

// ParseJSON makes a tree of JSON, with numbers as they are written.
func ParseJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var t any
	err := decoder.Decode(&t)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more behind the end of the value")
		}
	}
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("line %d: %w", line(data, syntax.Offset), err)
	case errors.Is(err, io.EOF):
		return nil, errors.New("line 1: it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("line %d: %w", line(data, int64(len(data))), err)
	}
	return nil, fmt.Errorf("line %d: %w", line(data, decoder.InputOffset()), err)
}

func line(data []byte, offset int64) int {
	offset = max(0, min(offset, int64(len(data))))
	return 1 + bytes.Count(data[:offset], []byte{'\n'})
}
