package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge/config"
)

// TestProblemHasItsPlace: what shows only later is told with the line of its key, of
// what is around it, or with the file.
func TestProblemHasItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fieldpost.yaml")
	if err := os.WriteFile(path, []byte("data_dir: /tmp/x\napi:\n  listen: off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Path: path, Flags: map[string]string{"agent.id": "box"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  []string
		want string
	}{
		{[]string{"data_dir"}, path + ":1:"},
		{[]string{"api", "listen"}, path + ":3:"},
		{[]string{"api", "socket"}, path + ":2:"},
		{[]string{"agent", "id"}, "flag agent.id"},
		{[]string{"store", "headroom"}, path + ": it"},
	} {
		if got := cfg.Problem("it changed", "restart", c.key...).String(); !strings.HasPrefix(got, c.want) || !strings.HasSuffix(got, ": restart") {
			t.Errorf("%v: %s", c.key, got)
		}
	}
}
