package edge

import (
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30ms": 30 * time.Millisecond, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "30d": 30 * day, "2w": 14 * day,
		"0": 0, "1.5h": 90 * time.Minute, " 5 s ": 5 * time.Second, "100us": 100 * time.Microsecond, "1d 12h": 36 * time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || d.D() != want {
			t.Errorf("%q: %v %v", in, d.D(), err)
			continue
		}
		var again Duration
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q became %q: %v", in, d, err)
		}
	}
	for _, d := range []Duration{Duration(90 * time.Minute), Duration(time.Minute), Duration(10 * time.Hour), Duration(day), Duration(100 * time.Minute)} {
		if s := d.String(); strings.HasSuffix(s, "0s") || strings.HasSuffix(s, "h0m") {
			t.Error(s)
		}
	}
}

func TestUnitsRefuse(t *testing.T) {
	for _, c := range []struct {
		into encoding.TextUnmarshaler
		in   []string
	}{
		{new(Duration), []string{"", "5", "-5s", "5x", "s", "1e9h", "5s5", "1..2s", "99999999w"}},
		{new(Size), []string{"", "5", "-5MB", "5Mb", "MB", "99999999999TB"}},
		{new(Count), []string{"", "x", "1.5 events", "5 apples", "-1"}},
		{new(Rate), []string{"", "5MB", "5/day", "5MB/fortnight", "5MB/0"}},
	} {
		for _, in := range c.in {
			err := c.into.UnmarshalText([]byte(in))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", in)) || !strings.Contains(err.Error(), "write it like") {
				t.Errorf("%T %q: %v", c.into, in, err)
			}
		}
	}
}

func TestSizeCountRate(t *testing.T) {
	for in, want := range map[string]int64{"200MB": 200e6, "16kB": 16e3, "1GiB": 1 << 30, "0": 0, "1.5kB": 1500, "12B": 12, "4 KiB": 4096} {
		var z, again Size
		if err := z.UnmarshalText([]byte(in)); err != nil || int64(z) != want || again.UnmarshalText([]byte(z.String())) != nil || again != z {
			t.Errorf("%q: %d, %q %d: %v", in, z, z.String(), again, err)
		}
	}
	for in, want := range map[string]uint64{"50": 50, "100k events": 100_000, "1M events": 1e6, "1.5k": 1500, "1 event": 1, "0": 0} {
		var c, again Count
		if err := c.UnmarshalText([]byte(in)); err != nil || uint64(c) != want || again.UnmarshalText([]byte(c.String())) != nil || again != c {
			t.Errorf("%q: %d %v", in, c, err)
		}
	}
	for in, want := range map[string]Rate{"100MB/day": {100e6, day}, "50MB/month": {50e6, 30 * day}, "1kB/s": {1000, time.Second}, "1MB / 10m": {1e6, 10 * time.Minute}} {
		var r, again Rate
		if err := r.UnmarshalText([]byte(in)); err != nil || r != want || again.UnmarshalText([]byte(r.String())) != nil || again != r {
			t.Errorf("%q: %+v %q %v", in, r, r, err)
		}
	}
}

func TestPin(t *testing.T) {
	for in, want := range map[string]string{"GPIO17": "GPIO17", "17": "GPIO17", "gpio4": "GPIO4", "P1_11": "GPIO17", "p1_40": "GPIO21", "BCM5": "GPIO5", "MCP23017_20_PORTA_0": "MCP23017_20_PORTA_0"} {
		var p Pin
		if err := p.UnmarshalText([]byte(in)); err != nil || string(p) != want {
			t.Errorf("%q: %q %v", in, p, err)
		}
	}
	for in, want := range map[string]string{"": "empty", "GPIO99": "GPIO53", "P1_1": "3V3", "P1_41": "P1_40", "PIN11": "P1_11 or GPIO17", "pin 6": "GND", "a b": "like GPIO17"} {
		var p Pin
		if err := p.UnmarshalText([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q %v", in, p, err)
		}
	}
	if n, ok := Pin("GPIO17").Number(); n != 17 || !ok {
		t.Error(n, ok)
	}
	if _, ok := Pin("X1").Number(); ok {
		t.Error("X1 has a number")
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGE_TEST_SECRET", "from-env")
	t.Setenv("EDGE_TEST_EMPTY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for in, want := range map[string]string{"plain:text": "plain:text", "file:" + file: "from-file", "env:EDGE_TEST_SECRET": "from-env", "cred:key": "from-file"} {
		var s Secret
		if err := s.UnmarshalText([]byte(in)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Reveal()
		if err != nil || got != want || !s.Set() {
			t.Errorf("%q: %q %v", in, got, err)
		}
		j, _ := json.Marshal(struct{ S Secret }{s})
		for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%#v %+v %q", s, s, s), string(j), s.LogValue().String()} {
			if strings.Contains(shown, want) {
				t.Errorf("%q shows itself in %q", in, shown)
			}
		}
	}
	for _, in := range []string{"file:" + dir + "/none", "env:EDGE_TEST_NONE", "env:EDGE_TEST_EMPTY", "cred:../key", "cred:none", "file:" + big} {
		var s Secret
		if err := s.UnmarshalText([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Reveal(); err == nil {
			t.Errorf("%s gave %q", in, got)
		}
	}
	if s := LiteralSecret("file:x"); s.Source() != "literal" {
		t.Error(s.Source())
	} else if v, _ := s.Reveal(); v != "file:x" {
		t.Error(v)
	}
	if LiteralSecret("").Set() || (Secret{}).String() != "" || new(Secret).UnmarshalText([]byte("file:")) == nil {
		t.Error("an empty secret")
	}
}

func TestPosition(t *testing.T) {
	for in, want := range map[string]Position{"7f3a9c21.20817": {0x7f3a9c21, 20817}, "17": {0, 17}, "00000001.0": {1, 0}} {
		p, err := ParsePosition(in)
		if err != nil || p != want || p.String() != in {
			t.Errorf("%q: %+v %q %v", in, p, p, err)
		}
	}
	for _, in := range []string{"", "x", "7f3a9c2.1", "7F3A9C21.1", "7f3a9c21.", "7f3a9c21.-1", "-1", "1.2.3", "99999999999999999999999"} {
		if p, err := ParsePosition(in); err == nil {
			t.Errorf("%q: %+v", in, p)
		}
	}
	if e, n, err := ParseID(EventID(0x7f3a9c21, 20817)); err != nil || e != 0x7f3a9c21 || n != 20817 {
		t.Error(e, n, err)
	}
	for _, in := range []string{"", "7f3a9c21-", "7f3a9c21-01", "7f3a9c21-+1", "7f3a9c21.1", "7f3a9c21-x"} {
		if _, _, err := ParseID(in); err == nil {
			t.Errorf("%q is an id", in)
		}
	}
}
