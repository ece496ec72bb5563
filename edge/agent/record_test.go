package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// How long a recording is, in the tests that drive lines meanwhile.
const recordingLasts = 12 * time.Second

// recordedDevices are devices on lines that both boards have. The ticks of flow are far
// from when its line is driven: it is driven after a tick was seen.
const recordedDevices = `devices:
  door: {digital_in: GPIO17, debounce: 30ms, states: {on: open, off: closed}, ring: alarms}
  hatch: {digital_in: GPIO23}
  bell: {button: GPIO6, debounce: 10ms, long: 600ms, double: 300ms}
  knob: {rotary: GPIO5, b: GPIO13, debounce: 0s}
  flow: {counter: GPIO22, edge: rising, every: 4s}
`

// puller drives lines from outside.
type puller func(line int, up bool)

// recorded runs a program of edges while all devices are recorded, and gives the traces
// and the events.
func recorded(t *testing.T, socket string, names []string, pull puller) (traces []*gpio.Trace, evs []edge.Event) {
	t.Helper()
	var got devicesAnswer
	var hatch edge.DeviceStatus
	until(t, "all devices are ok", func() bool {
		got = devicesAnswer{}
		if over(t, socket, "/v1/devices", &got) != nil {
			return false
		}
		return !slices.ContainsFunc(names, func(n string) bool { return got.named(n).Status != "ok" })
	})
	// Edges before the recordings: a twin goes on from what the devices had stored.
	for i := range 4 {
		for _, line := range []int{17, 22, 23} {
			pull(line, i%2 == 0)
		}
		<-time.After(100 * time.Millisecond)
	}
	until(t, "the hatch tells the edges before", func() bool {
		return over(t, socket, "/v1/devices/hatch", &hatch) == nil && string(hatch.Value) == "false" && len(hatch.Event) > 0
	})
	all := make([][]byte, len(names))
	var begun, done sync.WaitGroup
	for i, name := range names {
		begun.Add(1)
		done.Go(func() { all[i] = recording(t, socket, name, begun.Done) })
	}
	begun.Wait()
	count := flowCount(t, socket)
	until(t, "flow ticks", func() bool { return flowCount(t, socket) > count })
	playRecorded(pull)
	done.Wait()
	for i, raw := range all {
		tr, err := gpio.ReadTrace(bytes.NewReader(raw))
		if err != nil || !tr.Whole || tr.Lost > 0 {
			t.Fatalf("the trace of %s: %v\n%s", names[i], err, raw)
		}
		traces = append(traces, tr)
	}
	var page struct{ Events []edge.Event }
	until(t, "all that was recorded is stored", func() bool { // samples are flushed a second later
		page.Events = nil
		return over(t, socket, "/v1/events?limit=1000", &page) == nil &&
			slices.ContainsFunc(page.Events, func(ev edge.Event) bool {
				return ev.Name == "flow" && !slices.ContainsFunc(traces, func(tr *gpio.Trace) bool { return ev.Mono <= tr.End() })
			})
	})
	return traces, page.Events
}

// flowCount is how many events the counter has told.
func flowCount(t *testing.T, socket string) int {
	var page struct{ Events []edge.Event }
	if over(t, socket, "/v1/events?limit=1000&name=flow", &page) != nil {
		return 0
	}
	return len(page.Events)
}

// recording takes a trace over the socket; begun is called with its first line.
func recording(t *testing.T, socket, name string, begun func()) []byte {
	first := sync.OnceFunc(begun)
	defer first()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	res, err := client.Get("http://fieldpost/v1/devices/" + name + "/record?for=" + recordingLasts.String())
	if err != nil {
		t.Error(err)
		return nil
	}
	defer res.Body.Close()
	var all bytes.Buffer
	for b := make([]byte, 4096); ; {
		n, err := res.Body.Read(b)
		all.Write(b[:n])
		first()
		if err == io.EOF {
			return all.Bytes()
		}
		if err != nil {
			t.Errorf("record %s: %v", name, err)
			return nil
		}
	}
}

// playRecorded drives the lines: changes, presses of all kinds, turns and pulses. An
// emulated interrupt needs 50 ms (FACTS.md 8, T1).
func playRecorded(pull puller) {
	const pace = 60 * time.Millisecond
	press := func(line int, down, up time.Duration) {
		pull(line, true)
		<-time.After(down)
		pull(line, false)
		<-time.After(up)
	}
	for range 3 {
		press(22, pace, pace)
	}
	for range 3 {
		press(17, 2*pace, 2*pace)
		press(23, pace, pace)
	}
	press(6, 2*pace, 10*pace)
	press(6, pace, pace)
	press(6, pace, 10*pace)
	press(6, 800*time.Millisecond, 5*pace)
	for range 2 {
		for _, step := range []struct {
			line int
			up   bool
		}{{5, true}, {13, true}, {5, false}, {13, false}} {
			pull(step.line, step.up)
			<-time.After(pace)
		}
	}
}

// replays plays traces on a twin, and compares what its devices tell with what those
// of the recorded agent told meanwhile.
func replays(t *testing.T, cfg *config.Config, traces []*gpio.Trace, then []edge.Event) {
	t.Helper()
	twin := *cfg
	twin.DataDir = t.TempDir()
	twin.Store.Headroom = -1
	var now []edge.Event
	synctest.Test(t, func(t *testing.T) {
		begin, end := traces[0].Head.Mono, traces[0].End()
		for _, tr := range traces {
			begin, end = min(begin, tr.Head.Mono), max(end, tr.End())
		}
		const lead = 5 * time.Second // more than flow's every
		board := NewTwinBoard(traces[0].Head.Boot, traces[0].Head.Time.Add(-lead), begin-int64(lead))
		err := RunTwin(t.Context(), TwinOptions{
			Config: &twin, Board: board, Traces: traces,
			World: func(_ context.Context, w *Twin) error {
				for _, s := range merged(traces) {
					time.Sleep(time.Duration(s.Edge.Mono - board.now())) // synctest: it takes no time
					if err := w.Feed(s); err != nil {
						return err
					}
					synctest.Wait()
				}
				time.Sleep(time.Duration(end-board.now()) + 2*time.Second) // synctest: it takes no time
				synctest.Wait()
				page, err := w.Read(edge.Query{Limit: edge.MaxLimit})
				now = page.Events
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	for _, tr := range traces {
		was, is := told(then, tr), told(now, tr)
		if len(was) == 0 {
			t.Errorf("%s told nothing while it was recorded", tr.Head.Device)
		}
		if !slices.Equal(was, is) {
			t.Errorf("%s told\n%s\nand its twin\n%s", tr.Head.Device, strings.Join(was, "\n"), strings.Join(is, "\n"))
		}
		t.Logf("%s: %d events, %d steps", tr.Head.Device, len(is), len(tr.Steps))
	}
}

// merged are the edges of all traces in the order of their times.
func merged(traces []*gpio.Trace) (all []gpio.TraceStep) {
	for _, tr := range traces {
		for _, s := range tr.Steps {
			if s.Edge != nil {
				all = append(all, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b gpio.TraceStep) int { return int(a.Edge.Mono - b.Edge.Mono) })
	return all
}

// told are the events of a device while it was recorded: kind, time and data. A
// counter's total is told by the agent's own clock, so its times are left out.
func told(evs []edge.Event, tr *gpio.Trace) (all []string) {
	for i := range evs {
		ev := &evs[i]
		if ev.Name != tr.Head.Device || ev.Mono < tr.Head.Mono || ev.Mono > tr.End() {
			continue
		}
		at := fmt.Sprint(ev.Mono - tr.Head.Mono)
		if tr.Head.Driver == "counter" {
			at = "-"
		}
		var data map[string]any
		if json.Unmarshal(ev.Data, &data) != nil {
			data = nil
		}
		all = append(all, fmt.Sprintf("%s %s %s %v", ev.Kind, at, ev.Ring, data))
	}
	return all
}

var recordedNames = []string{"door", "hatch", "bell", "knob", "flow"}

// TestRecordReplays: what a running agent on the simulated board recorded of its devices
// is told again by a twin, with the same times.
func TestRecordReplays(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, recordedDevices+"  tank: {hc_sr04: GPIO19, echo: GPIO26, every: 1s}\n  soil: {ds18b20: auto, every: 1s}\n")
	pins := gpio.NewSimBoard(gpio.SimOptions{})
	gpiotest.NewEcho(pins, "GPIO19", "GPIO26")
	for _, line := range []edge.Pin{"GPIO5", "GPIO6", "GPIO13", "GPIO17", "GPIO22", "GPIO23"} {
		if err := pins.Drive(line, false); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, Options{Config: cfg, Pins: pins, Seed: 7})
	traces, evs := recorded(t, cfg.API.Socket, append(recordedNames, "tank", "soil"), func(line int, up bool) {
		if err := pins.Drive(edge.Pin(fmt.Sprintf("GPIO%d", line)), up); err != nil {
			t.Error(err)
		}
	})
	r.end()
	replays(t, cfg, traces, evs)
}

// TestRecordAfterReload: the head of a trace has the device's entry of the config in force.
func TestRecordAfterReload(t *testing.T) {
	r := newReloader(t, "devices: {door: {digital_in: GPIO17}}\n")
	r.write("devices: {door: {digital_in: GPIO17, debounce: 20ms}, hatch: {digital_in: GPIO23, active_low: true}}\n")
	r.reload(http.StatusOK)
	r.until("all devices are ok", func() bool { return !strings.Contains(r.get("/v1/devices"), `"starting"`) })
	for name, word := range map[string]string{"door": "20ms", "hatch": "active_low"} {
		tr, err := gpio.ReadTrace(strings.NewReader(r.get("/v1/devices/" + name + "/record?for=100ms")))
		if err != nil || !strings.Contains(string(tr.Head.Config), word) {
			t.Errorf("%s: %v, its config is %s", name, err, tr.Head.Config)
		}
	}
}

// TestBoardRecordReplays: the same with the lines of a real kernel.
func TestBoardRecordReplays(t *testing.T) {
	sim := gpiotest.OnBoard(t)
	dir := testDir(t)
	cfg := load(t, dir, recordedDevices)
	for _, line := range []int{5, 6, 13, 17, 22, 23} {
		sim.Pull(t, line, false)
	}
	r := start(t, Options{Config: cfg})
	traces, evs := recorded(t, cfg.API.Socket, recordedNames, func(line int, up bool) { sim.Pull(t, line, up) })
	r.end()
	replays(t, cfg, traces, evs)
}
