package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// bellRun is a press from 1 s to 7 s and what a good agent tells of it.
func bellRun() (pressed, []bellEvent) {
	const s = int64(time.Second)
	p := pressed{down: 1 * s, downAfter: 1*s + 1e6, up: 7 * s, upAfter: 7*s + 1e6}
	long, release := bellEvent{Kind: "change", Mono: 4*s + 21e6}, bellEvent{Kind: "change", Mono: 7*s + 22e6}
	long.Data.Value, release.Data.Value, release.Data.Held = "long", "release", 6.001
	return p, []bellEvent{long, release}
}

func TestJudgeBell(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]bellEvent) []bellEvent
		fault  string
	}{
		"a long":           {func(es []bellEvent) []bellEvent { return es }, ""},
		"no release":       {func(es []bellEvent) []bellEvent { return es[:1] }, `it told "long", not`},
		"two longs":        {func(es []bellEvent) []bellEvent { return append(es[:1], es...) }, "not \"long release\""},
		"a loss":           {func(es []bellEvent) []bellEvent { es[0].Kind = "loss"; return es }, `it told "loss release"`},
		"a press":          {func(es []bellEvent) []bellEvent { es[0].Data.Value = "press"; return es }, `it told "press release"`},
		"nothing":          {func([]bellEvent) []bellEvent { return nil }, `it told ""`},
		"by the restart":   {func(es []bellEvent) []bellEvent { es[0].Mono += 2e9; return es }, "the long's begin is stamped 2.021s after it"},
		"too early":        {func(es []bellEvent) []bellEvent { es[0].Mono -= 1e9; return es }, "the long's begin is stamped"},
		"release too late": {func(es []bellEvent) []bellEvent { es[1].Mono += 2e9; return es }, "the release is stamped"},
		"held from the restart": {func(es []bellEvent) []bellEvent {
			es[1].Data.Held = 3.2
			return es
		}, "held 3.200 s, by the stamps 6.001 s"},
	} {
		t.Run(name, func(t *testing.T) {
			p, es := bellRun()
			hasFault(t, judgeLong(c.change(es), p), c.fault)
		})
	}
	press := bellEvent{Kind: "change", Mono: 7e9 + 5e6}
	press.Data.Value, press.Data.Held = "press", 6
	p, _ := bellRun()
	hasFault(t, judgeShort([]bellEvent{press}, p), "")
	press.Data.Held = 0
	hasFault(t, judgeShort([]bellEvent{press}, p), "it was held 0.000 s")
	press.Data.Held, press.Mono = 6, 1e9
	hasFault(t, judgeShort([]bellEvent{press}, p), "the press is stamped")
}

const traceText = `# tracer: nop
#
# entries-in-buffer/entries-written: 5/5   #P:2
#
       fieldpost-401     [000] .....    20.5: gpio_value: 534 set 1
       fieldpost-401     [001] .....    21.5: gpio_value: 539 set 1
       fieldpost-401     [001] .....    22.5: gpio_value: 529 get 0
       fieldpost-401     [001] .....    23.5: gpio_value: 539 set 0
       fieldpost-490     [001] .....    24.5: gpio_value: 539 set 1
`

func TestBoardDrives(t *testing.T) {
	ds, err := parseDrives(traceText)
	if want := (drives{534: "1", 539: "101"}); err != nil || !reflect.DeepEqual(ds, want) {
		t.Errorf("%v, %v", ds, err)
	}
	if _, err := parseDrives(strings.Replace(traceText, "5/5", "5/9", 1)); err == nil {
		t.Error("a trace that lost something is taken for whole")
	}
	if _, err := parseDrives(""); err == nil {
		t.Error("no trace is taken for one")
	}
}

func TestJudgeDrives(t *testing.T) {
	trace := &valueTrace{lamp: 534, pump: 539}
	for _, c := range []struct {
		ds    drives
		fault string
	}{
		{drives{539: "0101"}, ""},
		{drives{534: "11", 539: "0101"}, ""},
		{drives{534: "101", 539: "0101"}, `the lamp was driven to "101"`},
		{drives{539: "011"}, "the trace has holes"},
		{drives{539: "00"}, "the trace has holes"},
		{drives{529: "1", 539: "0101"}, "line 529"},
	} {
		hasFault(t, trace.judgeDrives(c.ds, 2), c.fault)
	}
}

func TestBoardCure(t *testing.T) {
	const said = `door  digital_in  absent: open /dev/gpiochip0: permission denied: it belongs to root:root with mode 0600, and the agent runs as fieldpost; ` +
		`give it to the group gpio: sudo groupadd -f gpio, sudo usermod -aG gpio fieldpost, and a udev rule such as the package's ` +
		`60-fieldpost.rules (SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"), sudo udevadm trigger --subsystem-match=gpio, then start the agent again`
	want := []cureStep{
		{command: []string{"groupadd", "-f", "gpio"}},
		{command: []string{"usermod", "-aG", "gpio", "fieldpost"}},
		{file: "60-fieldpost.rules", rule: `SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"`},
		{command: []string{"udevadm", "trigger", "--subsystem-match=gpio"}},
		{command: []string{"systemctl", "restart", boardUnit}},
	}
	if got := cureSteps("NAME DRIVER\n" + said + "\n" + said + "\n"); !reflect.DeepEqual(got, want) {
		t.Errorf("steps %q", got)
	}
	// What it does not say is not done.
	if got := cureSteps(strings.TrimSuffix(said, ", then start the agent again")); !reflect.DeepEqual(got, want[:4]) {
		t.Errorf("steps %q", got)
	}
	if got := cureSteps("all is well\n"); got != nil {
		t.Errorf("steps %q", got)
	}
	if _, err := cure(t.Context(), nil); err == nil {
		t.Error("no cure is one")
	}
	if got := ruleIn([]byte("# why\n\n" + want[2].rule + "\n")); got != want[2].rule {
		t.Errorf("rule %q", got)
	}
}
