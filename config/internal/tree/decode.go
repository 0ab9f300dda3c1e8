package tree

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A FieldError says what is wrong with one field. It never contains a value
// that is secret.
type FieldError struct {
	Path    string // as in limits.max_conns
	Problem string
	Err     error // of the type's own unmarshaller, if that is what failed
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Problem }

func (e *FieldError) Unwrap() error { return e.Err }

// maxErrors bounds how many wrong fields one error names.
const maxErrors = 10

// Reading is how Decode reads.
type Reading struct {
	Strict bool // fields that the type does not have are errors
	// Open turns the text at a path into what it stands for, if it is
	// encrypted.
	Open func(path Path, text string) (string, error)
}

// Decode makes a fresh value of a tree. Nothing in it is shared with the tree
// or with any other value. Errors are FieldErrors, up to ten joined.
func (s *Schema) Decode(t map[string]any, r Reading) (reflect.Value, error) {
	d := decoder{Reading: r}
	v := reflect.New(s.Type)
	d.decode(s, s.Hidden, nil, t, v.Elem())
	return v, errors.Join(d.errs...)
}

type decoder struct {
	Reading
	errs []error
}

func (d *decoder) fail(at Path, err error, format string, args ...any) {
	switch {
	case len(d.errs) < maxErrors:
		d.errs = append(d.errs, &FieldError{Path: at.String(), Problem: fmt.Sprintf(format, args...), Err: err})
	case len(d.errs) == maxErrors:
		d.errs = append(d.errs, errors.New("and more"))
	}
}

// decode sets v, which is settable and zero.
func (d *decoder) decode(s *Schema, secret bool, at Path, t any, v reflect.Value) {
	if t == nil {
		return
	}
	for v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch s.Kind {
	case Struct:
		d.structure(s, secret, at, t, v)
	case Map:
		d.mapping(s, secret, at, t, v)
	case List:
		d.list(s, secret, at, t, v)
	case Any:
		v.Set(reflect.ValueOf(d.plain(at, t)))
	case JSON:
		d.json(secret, at, t, v)
	default:
		d.scalar(s, secret, at, t, v)
	}
}

func (d *decoder) structure(s *Schema, secret bool, at Path, t any, v reflect.Value) {
	fields, ok := t.(map[string]any)
	if !ok {
		d.fail(at, nil, "want fields, have %s", describe(t, secret))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		f := s.byName[key]
		if f == nil {
			if d.Strict {
				d.fail(at.Join(key), nil, "there is no such field")
			}
			continue
		}
		d.decode(f.Schema, secret || f.Secret || f.Schema.Hidden, at.Join(key), fields[key], v.FieldByIndex(f.index))
	}
}

func (d *decoder) mapping(s *Schema, secret bool, at Path, t any, v reflect.Value) {
	entries, ok := t.(map[string]any)
	if !ok {
		d.fail(at, nil, "want a map, have %s", describe(t, secret))
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.decode(s.Elem, secret || s.Elem.Hidden, at.Join(key), entries[key], entry)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), entry)
	}
}

func (d *decoder) list(s *Schema, secret bool, at Path, t any, v reflect.Value) {
	items, err := list(t)
	if err != nil {
		d.fail(at, nil, "want a list, have %s", describe(t, secret))
		return
	}
	if v.Kind() == reflect.Array {
		if len(items) != v.Len() {
			d.fail(at, nil, "want %d items, have %d", v.Len(), len(items))
			return
		}
	} else {
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	}
	for i, item := range items {
		d.decode(s.Elem, secret || s.Elem.Hidden, at.Join(strconv.Itoa(i)), item, v.Index(i))
	}
}

// list returns a tree's items; text may be JSON, or items with commas between.
func list(t any) ([]any, error) {
	switch t := t.(type) {
	case []any:
		return t, nil
	case Text:
		text := strings.TrimSpace(string(t))
		if text == "" {
			return []any{}, nil
		}
		if strings.HasPrefix(text, "[") {
			parsed, err := ParseJSON([]byte(text))
			items, _ := parsed.([]any)
			return items, err
		}
		var items []any
		for item := range strings.SplitSeq(text, ",") {
			items = append(items, Text(strings.TrimSpace(item)))
		}
		return items, nil
	}
	return nil, errors.New("not a list")
}

// scalar sets what one text or number stands for.
func (d *decoder) scalar(s *Schema, secret bool, at Path, t any, v reflect.Value) {
	text, ok := d.text(s, secret, at, t)
	if !ok {
		return
	}
	var err error
	switch s.Kind {
	case Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case Int:
		var n int64
		n, err = strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
	case Uint:
		var n uint64
		n, err = strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(n)
	case Float:
		var f float64
		f, err = strconv.ParseFloat(text, v.Type().Bits())
		v.SetFloat(f)
	case String:
		v.SetString(text)
	case Duration:
		var length time.Duration
		length, err = time.ParseDuration(text)
		v.SetInt(int64(length))
	case Bytes:
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(text)
		v.SetBytes(raw)
	case Words:
		if err := safely(func() error {
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		}); err != nil {
			d.refused(secret, at, s, err)
		}
		return
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fail(at, nil, "%s is out of range for %s", describe(t, secret), wanted(s))
	case err != nil:
		d.fail(at, nil, "want %s, have %s", wanted(s), describe(t, secret))
	}
}

// text returns the letters of a scalar. Where the source knows types, they must
// fit: "5" in quotes is not a number.
func (d *decoder) text(s *Schema, secret bool, at Path, t any) (string, bool) {
	var text string
	fits := false
	switch t := t.(type) {
	case Text:
		text, fits = string(t), true
	case string:
		text = t
		fits = s.Kind == String || s.Kind == Words || s.Kind == Duration || s.Kind == Bytes
	case json.Number:
		text = t.String()
		fits = s.Kind == Int || s.Kind == Uint || s.Kind == Float || s.Kind == Words
	case bool:
		text, fits = strconv.FormatBool(t), s.Kind == Bool || s.Kind == Words
	}
	if _, number := t.(json.Number); !number && d.Open != nil {
		opened, err := d.Open(at, text)
		if err != nil {
			d.fail(at, err, "%v", err)
			return "", false
		}
		if opened != text {
			return opened, true // what was encrypted is text, whatever the type
		}
	}
	if !fits {
		d.fail(at, nil, "want %s, have %s", wanted(s), describe(t, secret))
	}
	return text, fits
}

// json hands a part to a type that reads JSON itself.
func (d *decoder) json(secret bool, at Path, t any, v reflect.Value) {
	raw, err := json.Marshal(d.plain(at, t))
	if text, ok := t.(Text); ok && json.Valid([]byte(text)) {
		raw = []byte(text)
	}
	if err == nil {
		err = safely(func() error { return v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw) })
	}
	if err != nil {
		d.refused(secret, at, nil, err)
	}
}

// refused reports what a type's own unmarshaller said, which may quote the
// value.
func (d *decoder) refused(secret bool, at Path, s *Schema, err error) {
	if secret {
		d.fail(at, nil, "the secret value was refused")
		return
	}
	if s != nil {
		d.fail(at, err, "not a %v: %v", s.Type, err)
		return
	}
	d.fail(at, err, "%v", err)
}

// plain makes the value of an empty interface: maps and slices of its own,
// int64 or float64 for numbers.
func (d *decoder) plain(at Path, t any) any {
	switch t := t.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, part := range t {
			out[key] = d.plain(at.Join(key), part)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = d.plain(at.Join(strconv.Itoa(i)), item)
		}
		return out
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n
		}
		f, err := t.Float64()
		if err != nil {
			d.fail(at, nil, "%s is out of range", t)
		}
		return f
	case Text:
		return d.opened(at, string(t))
	case string:
		return d.opened(at, t)
	}
	return t
}

func (d *decoder) opened(at Path, text string) string {
	if d.Open == nil {
		return text
	}
	opened, err := d.Open(at, text)
	if err != nil {
		d.fail(at, err, "%v", err)
	}
	return opened
}

// safely runs a method of somebody else's type: one that panics has not
// understood what it was given, and must not take the process along.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

func wanted(s *Schema) string {
	switch s.Kind {
	case Bool:
		return "true or false"
	case Int, Uint:
		return fmt.Sprintf("an integer (%v)", s.Type.Kind())
	case Float:
		return "a number"
	case Duration:
		return "a duration such as 1m30s"
	case Bytes:
		return "base64"
	}
	return "text"
}

// describe says what is there, shortly, and nothing of a secret.
func describe(t any, secret bool) string {
	switch t := t.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case nil:
		return "nothing"
	default:
		if secret {
			return "a secret value"
		}
		text := fmt.Sprint(t)
		if len(text) > 40 {
			text = strings.ToValidUTF8(text[:40], "") + "..."
		}
		if _, number := t.(json.Number); number {
			return text
		}
		return strconv.Quote(text)
	}
}
