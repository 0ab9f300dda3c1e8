package config

import (
	"fmt"
	"log/slog"

	"github.com/gotenure/tenure/config/internal/tree"
)

// A Secret is text that does not show itself: printed with fmt, logged with
// log/slog or encoded by encoding/json and the like it is "[secret]". Use it for
// fields, or the tag secret:"true" where the type is given. Configurations that
// Tenure writes contain its text, encrypted if there is a Cipher.
type Secret struct{ text string }

// NewSecret makes a secret of a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// String returns "[secret]", or "" if the text is empty.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return tree.Hidden
}

// Format writes what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue makes log/slog write what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}
