package agent

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
)

// What counts as three crashes within five minutes: each step is a start, at an
// uptime of a boot, and what ended the run before it.
func TestStartsCount(t *testing.T) {
	type step struct {
		boot  string
		up    float64
		clean bool // the run before ended in good order
		calm  bool // it had forgotten what was before it
		safe  bool
	}
	for name, steps := range map[string][]step{
		"three in a row":             {{"a", 10, false, false, false}, {"a", 12, false, false, false}, {"a", 14, false, false, false}, {"a", 16, false, false, true}},
		"the first is too long ago":  {{"a", 10, false, false, false}, {"a", 12, false, false, false}, {"a", 100, false, false, false}, {"a", 313, false, false, false}, {"a", 314, false, false, true}},
		"an orderly end between":     {{"a", 10, false, false, false}, {"a", 12, false, false, false}, {"a", 14, true, false, false}, {"a", 16, false, false, false}, {"a", 18, false, false, false}},
		"three power cuts":           {{"a", 30, false, false, false}, {"b", 30, false, false, false}, {"c", 30, false, false, false}, {"d", 30, false, false, true}},
		"cuts of slow boots":         {{"a", 160, false, false, false}, {"b", 160, false, false, false}, {"c", 160, false, false, false}, {"d", 160, false, false, false}},
		"cuts after long runs":       {{"a", 30, false, true, false}, {"b", 30, false, true, false}, {"c", 30, false, true, false}, {"d", 30, false, true, false}},
		"a crash of a safe start":    {{"a", 1, false, false, false}, {"a", 2, false, false, false}, {"a", 3, false, false, false}, {"a", 4, false, false, true}, {"a", 400, false, false, true}, {"a", 402, true, false, false}},
		"a safe start that was calm": {{"a", 1, false, false, false}, {"a", 2, false, false, false}, {"a", 3, false, false, false}, {"a", 4, false, false, true}, {"a", 700, false, true, false}},
	} {
		file := filepath.Join(t.TempDir(), "running")
		var last *starts
		for i, st := range steps {
			if i > 0 && st.calm && last.calm() > 0 {
				if err := last.forget(); err != nil {
					t.Fatal(err)
				}
			}
			if i > 0 && st.clean {
				if err := last.end(); err != nil {
					t.Fatal(err)
				}
			}
			b := edge.Board{BootID: st.boot, Mono: func() int64 { return int64(st.up * 1e9) }}
			s, err := readStarts(file, b)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.why() != ""; got != st.safe {
				t.Errorf("%s: start %d is safe: %v, crashes %v", name, i, got, s.row.Crashes)
			}
			if err := s.begin(); err != nil {
				t.Fatal(err)
			}
			last = s
		}
	}
}

// Sleep counts, and a file that is damaged is one crash.
func TestStartsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "running")
	b := edge.Board{BootID: "a", Mono: func() int64 { return 5e9 }, Slept: func() time.Duration { return time.Minute }}
	if got := uptime(b); got != 65 {
		t.Errorf("got %v", got)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := readStarts(file, b)
	if err == nil || !slices.Equal(s.row.Crashes, []float64{0}) || s.row.Safe {
		t.Errorf("got %+v %v", s.row, err)
	}
}

// TestSafeStart: after three crashes the whole agent starts safe and says so; a
// restart in good order ends it, and calm does.
func TestSafeStart(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "devices: {pump: {digital_out: GPIO27, boot: on, stop: off}}\n")
	board := edgetest.NewBoard("boot-1")
	b := board.Board()
	pins := gpio.NewSimBoard(gpio.SimOptions{})
	file := filepath.Join(cfg.DataDir, "running")
	opt := Options{Config: cfg, Board: &b, Pins: pins}
	crashed := func() {
		t.Helper()
		raw, _ := json.Marshal(startsRow{Boot: b.BootID, Up: uptime(b), Crashes: []float64{2, 1}})
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pump := func(want bool) {
		t.Helper()
		until(t, "the pump is as it is to be", func() bool { got, err := pins.Level("GPIO27"); return err == nil && got == want })
	}
	problems := func() string {
		t.Helper()
		var st struct{ Problems []string }
		if err := over(t, cfg.API.Socket, "/v1/status", &st); err != nil {
			t.Fatal(err)
		}
		return strings.Join(st.Problems, " ")
	}

	r := start(t, opt)
	pump(true)
	if raw, err := os.ReadFile(file); err != nil || !strings.Contains(string(raw), `"boot":"boot-1"`) {
		t.Errorf("it runs and the file is %s %v", raw, err)
	}
	r.end()
	if _, err := os.Stat(file); err == nil {
		t.Error("it ended in good order and the file is there")
	}

	crashed()
	r = start(t, opt)
	var got devicesAnswer
	until(t, "the pump is ok", func() bool {
		return over(t, cfg.API.Socket, "/v1/devices", &got) == nil && got.named("pump").Status == "ok"
	})
	pump(false)
	if p := problems(); !strings.Contains(p, "This is a safe start") || !strings.Contains(p, "systemctl restart fieldpost") {
		t.Errorf("problems: %s", p)
	}
	r.end()
	r = start(t, opt)
	pump(true)
	if p := problems(); p != "" {
		t.Errorf("problems after a restart: %s", p)
	}
	r.end()

	crashed()
	opt.calm = 300 * time.Millisecond
	r = start(t, opt)
	until(t, "it is calm", func() bool { return problems() == "" })
	pump(true)
	until(t, "the file forgets", func() bool {
		raw, err := os.ReadFile(file)
		return err == nil && !strings.Contains(string(raw), "crashes") && !strings.Contains(string(raw), "safe")
	})
	r.end()

	told := named(stored(t, cfg, board), "safe_start")
	if len(told) != 3 || told[0]["safe"] != true || told[0]["crashes"] != 3.0 || told[1]["safe"] != true || told[2]["safe"] != false {
		t.Errorf("told %v", told)
	}
}

// A part that fails ends the agent, and that is no end in good order.
func TestFailureCountsAsACrash(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "devices: {pump: {digital_out: GPIO27}}\n")
	b := edgetest.NewBoard("boot-1").Board()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody can accept on it
	if err := Run(t.Context(), Options{Config: cfg, Board: &b, Pins: gpio.NewSimBoard(gpio.SimOptions{}), Listeners: []net.Listener{l}}); err == nil {
		t.Fatal("it did not fail")
	}
	s, err := readStarts(filepath.Join(cfg.DataDir, "running"), b)
	if err != nil || len(s.row.Crashes) != 1 {
		t.Errorf("got %+v %v", s.row, err)
	}
}

// A safe start of an agent without outputs ends too: a pump that a reload brought took no
// command for ever.
func TestSafeStartEndsForWhatAReloadBrings(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "devices: {door: {digital_in: GPIO17}}\n")
	b := edgetest.NewBoard("boot-1").Board()
	raw, _ := json.Marshal(startsRow{Boot: b.BootID, Up: uptime(b), Crashes: []float64{2, 1}})
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "running"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	pins := gpio.NewSimBoard(gpio.SimOptions{})
	loaded := func() (*config.Config, error) {
		return load(t, dir, "devices: {pump: {digital_out: GPIO27, boot: on}}\n"), nil
	}
	r := start(t, Options{Config: cfg, Board: &b, Pins: pins, Load: loaded, calm: 300 * time.Millisecond})
	defer r.end()
	until(t, "the pump is reloaded", func() bool {
		status, _, err := send(cfg.API.Socket, http.MethodPost, "/v1/reload", "")
		return err == nil && status == http.StatusOK
	})
	until(t, "the pump does what its boot says", func() bool { on, err := pins.Level("GPIO27"); return err == nil && on })
	until(t, "it takes commands", func() bool {
		status, _, err := send(cfg.API.Socket, http.MethodPost, "/v1/devices/pump/off", "")
		return err == nil && status == http.StatusOK
	})
}

// Without anything to drive nothing is counted.
func TestSafeStartNeedsOutputs(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "devices: {door: {digital_in: GPIO17}}\n")
	b := edgetest.NewBoard("boot-1").Board()
	start(t, Options{Config: cfg, Board: &b, Pins: gpio.NewSimBoard(gpio.SimOptions{}), calm: time.Hour, Ready: nil}).end()
	r := start(t, Options{Config: cfg, Board: &b, Pins: gpio.NewSimBoard(gpio.SimOptions{})})
	defer r.end()
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "running")); err == nil {
		t.Error("there is a file")
	}
}
