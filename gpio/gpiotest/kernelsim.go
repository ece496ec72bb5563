package gpiotest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// KernelSim is the kernel's gpio-sim (Linux's Documentation/admin-guide/gpio/
// gpio-sim.rst) under test: its lines are pulled and read through sysfs, which
// goes past the character device that we use.
type KernelSim struct {
	dir string // /sys/devices/platform/gpio-sim.0/gpiochip1
}

// OnBoard skips a test outside of the emulated board, and gives its gpio-sim.
func OnBoard(t testing.TB) *KernelSim {
	t.Helper()
	if os.Getenv("FIELDPOST_BOARD") != "1" {
		t.Skip("it needs a kernel's GPIO: make test-board runs it in the emulated board")
	}
	dirs, _ := filepath.Glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio17")
	if len(dirs) == 0 {
		t.Fatal("there is no gpio-sim with a line 17 on this board")
	}
	return &KernelSim{filepath.Dir(dirs[0])}
}

// Chip is the chip's device: /dev/gpiochip1.
func (s *KernelSim) Chip() string { return filepath.Join("/dev", filepath.Base(s.dir)) }

// Pull pulls a line up or down from outside.
func (s *KernelSim) Pull(t testing.TB, offset int, up bool) {
	t.Helper()
	word := "pull-down"
	if up {
		word = "pull-up"
	}
	if err := os.WriteFile(s.file(offset, "pull"), []byte(word), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Level is a line's physical level.
func (s *KernelSim) Level(t testing.TB, offset int) bool {
	t.Helper()
	b, err := os.ReadFile(s.file(offset, "value"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b)) == "1"
}

func (s *KernelSim) file(offset int, name string) string {
	return filepath.Join(s.dir, fmt.Sprintf("sim_gpio%d", offset), name)
}

// Plug takes the chip away or brings it back. Its number may be another then.
func (s *KernelSim) Plug(t testing.TB, in bool) {
	t.Helper()
	live, _ := filepath.Glob("/sys/kernel/config/gpio-sim/*/live")
	if len(live) != 1 {
		t.Fatalf("configfs has %v", live)
	}
	word := "0"
	if in {
		word = "1"
	}
	if err := os.WriteFile(live[0], []byte(word), 0o600); err != nil {
		t.Fatal(err)
	}
	if in {
		*s = *OnBoard(t)
	}
}
