package gpiotest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// KernelSim is the kernel's gpio-sim (Linux's Documentation/admin-guide/gpio/
// gpio-sim.rst) under test: its lines are pulled and read through sysfs, which
// goes past the character device that we use.
type KernelSim struct {
	dir atomic.Pointer[string] // /sys/devices/platform/gpio-sim.0/gpiochip1
}

// OnBoard skips a test outside of the emulated board, and gives its gpio-sim.
func OnBoard(t testing.TB) *KernelSim {
	t.Helper()
	if os.Getenv("FIELDPOST_BOARD") != "1" {
		t.Skip("it needs a kernel's GPIO: make test-board runs it in the emulated board")
	}
	s := &KernelSim{}
	s.find(t)
	return s
}

func (s *KernelSim) find(t testing.TB) {
	t.Helper()
	dirs, _ := filepath.Glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio17")
	if len(dirs) == 0 {
		t.Fatal("there is no gpio-sim with a line 17 on this board")
	}
	dir := filepath.Dir(dirs[0])
	s.dir.Store(&dir)
}

// Chip is the chip's device: /dev/gpiochip1.
func (s *KernelSim) Chip() string { return filepath.Join("/dev", filepath.Base(*s.dir.Load())) }

// Pull pulls a line up or down from outside.
func (s *KernelSim) Pull(t testing.TB, offset int, up bool) {
	t.Helper()
	if err := s.pull(offset, up); err != nil {
		t.Fatal(err)
	}
}

func (s *KernelSim) pull(offset int, up bool) error {
	word := "pull-down"
	if up {
		word = "pull-up"
	}
	return os.WriteFile(s.file(offset, "pull"), []byte(word), 0o600)
}

// number is the kernel's own of a line, which its trace has; false while there is no
// chip. A chip that comes back while somebody still holds the one before has others.
func (s *KernelSim) number(offset int) (int, bool) {
	files, _ := filepath.Glob(filepath.Join(*s.dir.Load(), "..", "gpio", "gpiochip*", "base"))
	if len(files) != 1 {
		return 0, false
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n + offset, err == nil
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
	return filepath.Join(*s.dir.Load(), fmt.Sprintf("sim_gpio%d", offset), name)
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
		s.find(t)
	}
}
