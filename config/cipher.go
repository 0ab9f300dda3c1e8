package config

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// A Cipher encrypts single texts of a configuration. It must be safe for
// concurrent use.
type Cipher interface {
	// Encrypt returns a text without control characters. Context says what the
	// plain text belongs to; Decrypt of the same ciphertext in another context
	// must fail.
	Encrypt(plain, context string) (string, error)
	// Decrypt undoes Encrypt. Its error must not contain the plain text.
	Decrypt(encrypted, context string) (string, error)
}

// encryptedPrefix marks a text that was encrypted.
const encryptedPrefix = "tenure-encrypted:"

// KeySize is the length of a key for AESGCM in bytes.
const KeySize = 32

// AESGCM is a Cipher with AES-256 in Galois/Counter Mode, from the standard
// library. Encrypted values say which key they were encrypted with: the first
// key encrypts, all of them decrypt, so a new key is put in front of the old
// one until everything was written anew. A key may encrypt four thousand
// million values.
func AESGCM(keys ...[]byte) (Cipher, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrConfig)
	}
	c := &aesGCM{byID: make(map[string]cipher.AEAD)}
	for i, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("%w: a key has %d bytes, this one has %d", ErrConfig, KeySize, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		sum := sha256.Sum256(append([]byte("tenure config key id\x00"), key...))
		id := hex.EncodeToString(sum[:4])
		c.byID[id] = aead
		if i == 0 {
			c.first = id
		}
	}
	return c, nil
}

type aesGCM struct {
	byID  map[string]cipher.AEAD
	first string
}

func (c *aesGCM) Encrypt(plain, context string) (string, error) {
	sealed := c.byID[c.first].Seal(nil, nil, []byte(plain), []byte(context))
	return "aes256gcm:" + c.first + ":" + base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (c *aesGCM) Decrypt(encrypted, context string) (string, error) {
	id, text, ok := strings.Cut(strings.TrimPrefix(encrypted, "aes256gcm:"), ":")
	if !ok || !strings.HasPrefix(encrypted, "aes256gcm:") {
		return "", errors.New("not encrypted with AES-256-GCM")
	}
	aead := c.byID[id]
	if aead == nil {
		return "", fmt.Errorf("encrypted with key %q, which is not among those given", id)
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", errors.New("the encrypted text is damaged")
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return "", errors.New("cannot be decrypted: damaged, or moved here from another field or configuration")
	}
	return string(plain), nil
}

// NewKey returns a random key for AESGCM, in the form that KeyFromFile and
// KeyFromEnvironment read.
func NewKey() string {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// KeyFromFile reads a key: 32 bytes in base64, white space around it is
// ignored.
func KeyFromFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: key: %w", err)
	}
	return parseKey("the file "+path, string(text))
}

// KeyFromEnvironment reads a key from a variable, in the form of KeyFromFile.
func KeyFromEnvironment(variable string) ([]byte, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, fmt.Errorf("config: key: the variable %s is not set", variable)
	}
	return parseKey("the variable "+variable, text)
}

func parseKey(where, text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("config: key: %s is not %d bytes in base64", where, KeySize)
	}
	return key, nil
}

// EncryptField returns the text to put into a document or key by hand for the
// field at a path, as in database.password, of a configuration of that name.
// Update encrypts by itself.
func EncryptField(c Cipher, name, path, plain string) (string, error) {
	encrypted, err := c.Encrypt(plain, name+"\x00"+path)
	if err != nil {
		return "", fmt.Errorf("config: %q: %s: encrypt: %w", name, path, err)
	}
	return encryptedPrefix + encrypted, nil
}

// decryptField undoes EncryptField. Text that was not encrypted stays as it is.
func decryptField(c Cipher, name, path, text string) (string, error) {
	encrypted, ok := strings.CutPrefix(text, encryptedPrefix)
	if !ok {
		return text, nil
	}
	if c == nil {
		return "", errors.New("it is encrypted, and no cipher was given")
	}
	return c.Decrypt(encrypted, name+"\x00"+path)
}
