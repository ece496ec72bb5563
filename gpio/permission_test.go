package gpio

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a user is told to do must help: only a group that has a name, and may use
// the device, can be joined.
func TestPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it gives files away: root alone can")
	}
	for name, c := range map[string]struct {
		gid  int
		mode os.FileMode
		join bool
	}{
		"a group that may":           {1, 0o660, true}, // daemon, on every Linux
		"a group that may only read": {1, 0o640, false},
		"root's":                     {0, 0o660, false},
		"a group without a name":     {64_321, 0o660, false},
	} {
		path := filepath.Join(t.TempDir(), "gpiochip0")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, c.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		said := permission(path)
		join, give := strings.Contains(said, "usermod -aG daemon root"), strings.Contains(said, "groupadd -f gpio") && strings.Contains(said, "60-fieldpost.rules") && strings.HasSuffix(said, "then start the agent again")
		if join != c.join || give == c.join {
			t.Errorf("%s: %s", name, said)
		}
	}
	if said := permission("/nowhere/gpiochip0"); !strings.Contains(said, "no such file") {
		t.Error(said)
	}
}
