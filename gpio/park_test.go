package gpio

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

func TestParkedName(t *testing.T) {
	for _, n := range []parkedName{
		{true, "pinctrl-bcm2711", 22, "a1b2c3d4", "00000000", "deadbeef"},
		{false, parkedLabel("1-0020: mcp.23017"), 0, shortHash(""), shortHash("x"), randomID()},
	} {
		text := n.String()
		got, ok := parseParkedName(text)
		if !ok || got != n {
			t.Errorf("%q is read as %+v, %v", text, got, ok)
		}
		// systemd takes 255 printable characters without a colon.
		if len(text) > 255 || strings.ContainsAny(text, ": \n") {
			t.Errorf("%q is no name for systemd", text)
		}
	}
	for _, bad := range []string{"", "gpio", "http", "gpio.in.chip.17.a.b", "gpio.up.chip.17.a.b.c", "gpio.in.chip.x.a.b.c",
		"gpio.in.chip.-1.a.b.c", "gpio.in..1.a.b.c", "gpio.in.chip.1...", "gpio.in.chip.1.a.b.c.d", "LISTEN_FD_3"} {
		if n, ok := parseParkedName(bad); ok {
			t.Errorf("%q is read as %+v", bad, n)
		}
	}
}

// A config that is another needs a SET_CONFIG; a level, a holder's name or a
// queue's length that is another does not.
func TestConfigHash(t *testing.T) {
	base := LineConfig{Edges: Both}
	for _, c := range []struct {
		cfg  LineConfig
		same bool
	}{
		{LineConfig{Edges: Both, Consumer: "x", Park: "y", Initial: High, Buffer: 16}, true},
		{LineConfig{Edges: Rising}, false},
		{LineConfig{Edges: Both, ActiveLow: true}, false},
		{LineConfig{Edges: Both, Bias: BiasUp}, false},
		{LineConfig{Edges: Both, Debounce: time.Millisecond}, false},
		{LineConfig{Output: true}, false},
	} {
		if got := c.cfg.hash() == base.hash(); got != c.same {
			t.Errorf("%+v: same %v", c.cfg, got)
		}
	}
}

func TestSortParked(t *testing.T) {
	open := func(name string) *os.File {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name) // the name that systemd gave
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	parked, twice := sortParked([]*os.File{
		open("gpio.out.chip.22.a.b.c"), open("http"), open("gpio.in.chip.17.a.b.c"), open("gpio.in.chip.17.a.b.d"), open("LISTEN_FD_5"),
	})
	if len(parked) != 2 || parked[lineKey{"chip", 17}].id != "c" || !parked[lineKey{"chip", 22}].output {
		t.Errorf("parked: %v", parked)
	}
	if len(twice) != 1 || twice[0].id != "d" {
		t.Errorf("twice: %v", twice)
	}
}

func TestConsumer(t *testing.T) {
	for in, want := range map[string]string{
		"fieldpost:door":                             "fieldpost:door",
		"fieldpost:" + strings.Repeat("a", 40):       "fieldpost:" + strings.Repeat("a", 21),
		"fieldpost:" + strings.Repeat("a", 20) + "ü": "fieldpost:" + strings.Repeat("a", 20),
		"fieldpost:" + strings.Repeat("ü", 20):       "fieldpost:" + strings.Repeat("ü", 10),
	} {
		if got := consumer(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestKernelConfig(t *testing.T) {
	in := kernelConfig(LineConfig{Edges: Rising, Bias: BiasUp, ActiveLow: true, Debounce: 1500 * time.Nanosecond})
	flags := uapi.LineFlagV2Input | uapi.LineFlagV2EdgeRising | uapi.LineFlagV2BiasPullUp | uapi.LineFlagV2ActiveLow
	if in.Flags != flags || in.NumAttrs != 1 || in.Attrs[0].Attr.ID != uapi.LineAttributeIDDebounce || in.Attrs[0].Attr.Value32() != 2 || in.Attrs[0].Mask != 1 {
		t.Errorf("%+v", in)
	}
	for level, bit := range map[Initial]uint64{Low: 0, High: 1} {
		out := kernelConfig(LineConfig{Output: true, Initial: level})
		if out.Flags != uapi.LineFlagV2Output || out.NumAttrs != 1 || out.Attrs[0].Attr.ID != uapi.LineAttributeIDOutputValues ||
			out.Attrs[0].Attr.Value64() != bit || out.Attrs[0].Mask != 1 {
			t.Errorf("%v: %+v", level, out)
		}
	}
}

// What systemd passes may be anything: a name that is read is one that we write.
func FuzzParkedName(f *testing.F) {
	f.Add(parkedName{true, "pinctrl-bcm2711", 22, "a1b2c3d4", "00000000", "deadbeef"}.String())
	f.Add("gpio.in.chip.-1.a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := parseParkedName(text)
		if !ok {
			return
		}
		if again, ok := parseParkedName(n.String()); !ok || again != n || n.offset < 0 {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, n, again, ok)
		}
	})
}
