package gpio_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// A board whose chips are not there, or are no chips, is one whose lines are
// absent, with the reason.
func TestMissingChips(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"none":   {"", "this machine has no GPIO"},
		"a file": {"gpiochip0", "gpiochip0 what it is"},
	} {
		dev := t.TempDir()
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dev, c.file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := gpio.OpenBoard(gpio.KernelOptions{Dev: dev})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{b.Missing("GPIO53"), b.Problem([]edge.Pin{"GPIO53"})} {
			if !errors.Is(err, edge.ErrAbsent) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "GPIO53") {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.Close()
	}
}
