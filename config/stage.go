package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Selection says which instances use a staged change before everybody does:
// those that match in any one way. See WithInstance.
type Selection struct {
	// Share of all instances, from 0 to 1. Which ones depends on their names
	// and on the change, so it is not always the same ones that go first. A
	// larger share of the same change includes those of the smaller.
	Share float64 `json:"share,omitempty"`
	// Names of instances.
	Names []string `json:"names,omitempty"`
	// Labels, all of which an instance must have. Empty chooses none.
	Labels map[string]string `json:"labels,omitempty"`
}

func (s Selection) check() error {
	switch {
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("%w: a share of %v is not between 0 and 1", ErrConfig, s.Share)
	case s.Share == 0 && len(s.Names) == 0 && len(s.Labels) == 0:
		return fmt.Errorf("%w: the selection chooses no instance", ErrConfig)
	}
	return nil
}

// Chooses tells whether the change with an id, as Stage returned it, chooses an
// instance.
func (s Selection) Chooses(id string, i Instance) bool { return s.chooses(id, i) }

func (s Selection) chooses(id string, i Instance) bool {
	if slices.Contains(s.Names, i.Name) || lot(id, i.Name) < s.Share {
		return true
	}
	for label, value := range s.Labels {
		if has, ok := i.Labels[label]; !ok || has != value {
			return false
		}
	}
	return len(s.Labels) > 0
}

// lot draws a number from 0 to below 1 for an instance, the same in every
// process.
func lot(id, name string) float64 {
	sum := sha256.Sum256([]byte(id + "\x00" + name))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// stage is a change that only some instances use.
type stage struct {
	ID        string    `json:"id"`
	Author    string    `json:"author"`
	Time      time.Time `json:"time"`
	Selection Selection `json:"selection"`
	Packed    []byte    `json:"packed"`
	Body      body      `json:"-"`
}

func parseStage(text []byte) (*stage, error) {
	s := new(stage)
	err := json.Unmarshal(text, s)
	if err == nil && s.ID == "" {
		err = errors.New("it has no id")
	}
	if err == nil {
		s.Body, err = unpack(s.Packed)
	}
	if err != nil {
		return nil, fmt.Errorf("the staged change cannot be read: %w", err)
	}
	return s, nil
}
