package edge

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestThisBoard(t *testing.T) {
	b, err := ThisBoard()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.BootID) != 36 {
		t.Errorf("boot id %q", b.BootID)
	}
	if a, c := b.Mono(), b.Mono(); a <= 0 || c < a {
		t.Errorf("mono went from %d to %d", a, c)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err == nil && len(uptime) == 0 {
		t.Error("no uptime")
	}
	if d := time.Since(b.Wall()).Abs(); d > time.Second {
		t.Errorf("wall is %v off", d)
	}
	if _, bound, err := b.Adjtimex(); err == nil && bound < 0 {
		t.Errorf("bound %v", bound)
	}
	if slept := b.Slept(); slept < -time.Second || slept > 100*365*24*time.Hour {
		t.Errorf("slept %v", slept)
	}
	ctx, cancel := context.WithCancel(t.Context())
	steps := b.Steps(ctx)
	cancel()
	for range steps { // it ends with its context
	}
}

func TestLargestError(t *testing.T) {
	for _, c := range []struct {
		timex unix.Timex
		want  time.Duration
	}{
		{unix.Timex{Maxerror: 1500}, 1500 * time.Microsecond},
		{unix.Timex{Maxerror: 1000, Offset: -3000}, 4 * time.Millisecond},
		{unix.Timex{Offset: 390_000_000, Status: staNano}, 390 * time.Millisecond},
	} {
		if got := largestError(&c.timex); got != c.want {
			t.Errorf("%+v: %v, not %v", c.timex, got, c.want)
		}
	}
}

func TestBoardAt(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := boardAt(root); err == nil {
		t.Error("a board without a boot id")
	}
	write("proc/sys/kernel/random/boot_id", "b1946ac9-0000-0000-0000-000000000000\n")
	b, err := boardAt(root)
	if err != nil || b.BootID != "b1946ac9-0000-0000-0000-000000000000" || b.Serial != "" {
		t.Errorf("%+v %v", b, err)
	}
	write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	b, _ = boardAt(root)
	if len(b.Serial) != 16 || b.Serial == "0123456789abcdef" {
		t.Errorf("serial %q", b.Serial)
	}
	write("sys/firmware/devicetree/base/serial-number", "10000000abcdef01\x00")
	write("sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\x00")
	if b, _ = boardAt(root); b.Serial != "10000000abcdef01" || b.Model != "Raspberry Pi 5 Model B Rev 1.0" {
		t.Errorf("%+v", b)
	}
}
