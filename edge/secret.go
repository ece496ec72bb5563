package edge

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret bounds what a secret's file may hold.
const maxSecret = 64 << 10

const hidden = "********"

// Secret is a password, key or token: a literal, or where to read it when it is
// needed: file:PATH, env:NAME, or cred:NAME (a systemd credential). It never
// prints itself.
type Secret struct{ text string }

// LiteralSecret is the secret s itself, whatever it begins with. "" is none.
func LiteralSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{"literal:" + s}
}

// Set reports whether there is a secret at all. It does not read it.
func (s Secret) Set() bool { return s.text != "" }

// Source says where the secret comes from, without telling it: "file:PATH",
// "env:NAME", "cred:NAME", "literal", or "" where none is set.
func (s Secret) Source() string {
	switch how, _ := s.split(); {
	case s.text == "":
		return ""
	case how == "literal":
		return "literal"
	}
	return s.text
}

// Reveal reads the secret now and takes one newline off its end. It blocks on
// the file system for file: and cred:. It fails where the source is missing,
// unreadable, empty or over 64 kB; the error never has the secret in it.
func (s Secret) Reveal() (string, error) {
	how, name := s.split()
	var v string
	var err error
	switch how {
	case "env":
		var ok bool
		if v, ok = os.LookupEnv(name); !ok {
			err = errors.New("the variable is not set")
		}
	case "file":
		v, err = readSecret(name)
	case "cred":
		v, err = readCredential(name)
	default:
		return name, nil
	}
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", s.text, err)
	}
	v = strings.TrimSuffix(strings.TrimSuffix(v, "\n"), "\r")
	if v == "" {
		return "", fmt.Errorf("read secret %s: it is empty", s.text)
	}
	return v, nil
}

// split gives how the secret is found, and its name there.
func (s Secret) split() (how, name string) {
	for _, p := range []string{"literal", "file", "env", "cred"} {
		if rest, ok := strings.CutPrefix(s.text, p+":"); ok {
			return p, rest
		}
	}
	return "literal", s.text
}

func readCredential(name string) (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", errors.New("there are no systemd credentials here (CREDENTIALS_DIRECTORY is not set)")
	}
	if name != filepath.Base(name) || name == ".." || name == "." {
		return "", errors.New("a credential's name has no path in it")
	}
	return readSecret(filepath.Join(dir, name))
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("it is over %d bytes", maxSecret)
	}
	return string(b), nil
}

// UnmarshalText takes a literal or a reference as config has it.
func (s *Secret) UnmarshalText(b []byte) error {
	text := string(b)
	how, rest, ok := strings.Cut(text, ":")
	if ok && rest == "" && (how == "file" || how == "env" || how == "cred") {
		return fmt.Errorf("secret %q names nothing: write file:PATH, env:NAME or cred:NAME", text)
	}
	s.text = text
	return nil
}

// String hides the secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
