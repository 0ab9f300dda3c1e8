package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// fallbackFile is the last content that was good, on disk.
type fallbackFile struct {
	Format   int       `json:"format"` // 1
	Name     string    `json:"name"`
	Revision int64     `json:"revision"`
	Saved    time.Time `json:"saved"`
	Body     body      `json:"content"`
}

// fallBack puts the fallback into force because of err.
func (v *Value[T]) fallBack(err error) error {
	f, unread := readFallback(v.opts.fallback, v.name)
	if unread != nil {
		return unread
	}
	if (f.Body.Doc == nil) != (v.place.doc == "") && !f.Body.empty() {
		return fmt.Errorf("%s: it is of a configuration with another layout", v.opts.fallback)
	}
	l, unread := v.pipeline.loadBody(f.Body, nil)
	if unread != nil {
		return fmt.Errorf("%s: %w", v.opts.fallback, unread)
	}
	v.opts.log.Warn("config: using the fallback", "name", v.name, "file", v.opts.fallback, "revision", f.Revision, "because", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.publish(&state[T]{
		loaded: l, revision: f.Revision, seen: v.content.revision, source: FromFallback,
		applied: time.Now(), asOf: f.Saved, rejected: rejection(err),
	})
	return nil
}

// keepFallback writes what is in force to the file whenever it changes, and
// once more before it ends.
func (v *Value[T]) keepFallback() {
	var saved *state[T]
	save := func(s *state[T]) {
		if s.source != FromEtcd || saved != nil && saved.revision == s.revision && saved.loaded.body.equal(s.loaded.body) {
			return
		}
		err := writeFallback(v.opts.fallback, fallbackFile{
			Format: 1, Name: v.name, Revision: s.revision, Saved: s.applied.UTC(), Body: s.loaded.body,
		})
		if err != nil {
			v.opts.log.Warn("config: the fallback is not written", "name", v.name, "file", v.opts.fallback, "err", err)
			return
		}
		saved = s
	}
	first := v.state.Load()
	save(first)
	for s := range v.states(v.life, first) {
		save(s)
	}
	save(v.state.Load())
}

func readFallback(path, name string) (fallbackFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return fallbackFile{}, err
	}
	var f fallbackFile
	switch err := json.Unmarshal(text, &f); {
	case err != nil:
		return fallbackFile{}, fmt.Errorf("%s: %w", path, err)
	case f.Format != 1:
		return fallbackFile{}, fmt.Errorf("%s: format %d is not known", path, f.Format)
	case f.Name != name:
		return fallbackFile{}, fmt.Errorf("%s: it is of the configuration %q", path, f.Name)
	}
	return f, nil
}

// writeFallback replaces the file whole: whoever reads it, after a crash too,
// finds the old or the new one.
func writeFallback(path string, f fallbackFile) (err error) {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(text)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), path); err != nil {
		return err
	}
	// The rename is on disk once the folder is. Not every system can do that.
	if folder, openErr := os.Open(dir); openErr == nil {
		_ = folder.Sync()
		_ = folder.Close()
	}
	return nil
}
