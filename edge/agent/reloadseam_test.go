package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fieldpost/edge/config"
	"fieldpost/gpio"
)

// TestReloadOnTheTwin: a sensor that the twin plays can be changed as any other, after a
// reload that was refused too; and a trace begins with the config that counts.
func TestReloadOnTheTwin(t *testing.T) {
	r := newReloader(t, "devices: {soil: {ds18b20: auto, every: 2s}}\n")
	works := func() {
		t.Helper()
		r.until("soil says something", func() bool {
			d := r.get("/v1/devices/soil")
			return strings.Contains(d, `"ok"`) && strings.Contains(d, `"value"`)
		})
	}
	works()
	r.write("devices: {soil: {ds18b20: auto, every: 1s, accept: {min: -40}}, more: {ds18b20: auto}, fan: {sim: sine, every: 0s}}\n")
	r.reload(422, "devices.fan")
	for i, soil := range []string{"ds18b20: auto, every: 1s, accept: {min: -40}", "ds18b20: 28-0316a2794fff, every: 1s", "ds18b20: auto, every: 1s"} {
		r.write("devices: {soil: {" + soil + "}, more: {ds18b20: auto}}\n")
		if done := r.reload(200); strings.Join(done.Devices.Changed, "") != "soil" || (i == 0) != (len(done.Devices.Added) == 1) {
			t.Errorf("%+v", done)
		}
		works()
	}
	var head gpio.TraceHead
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fieldpost/v1/devices/soil/record?for=100ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(r.dir, "s.sock"))
	}}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&head); err != nil || !strings.Contains(string(head.Config), `"1s"`) {
		t.Errorf("the head has %s, %v", head.Config, err)
	}
}

// TestReloadTellsWhatIsLate: what a disk did not take of a config that counts is told to
// who asked for it.
func TestReloadTellsWhatIsLate(t *testing.T) {
	a := &agent{uplinks: &uplinkSet{stage: newStage("the uplinks", nil)}}
	next := &config.Config{Hash: "c2"}
	for _, want := range []error{nil, errors.New("no space left on device")} {
		late := a.put(t.Context(), &turnover{next: next, uplinks: &uplinkPlan{}, api: func(context.Context) error { return want }})
		if (want != nil) != (len(late) == 1) || want != nil && !strings.Contains(late[0], want.Error()) || a.config() != next {
			t.Errorf("%v: %q", want, late)
		}
	}
}

// TestReloadKnowsEveryKey: a key that a reload neither takes nor refuses would change
// nothing, and nobody would hear of it.
func TestReloadKnowsEveryKey(t *testing.T) {
	for _, r := range config.References(Tables()) {
		key := strings.TrimSuffix(r.Section+"."+r.Key, ".")
		switch r.Section {
		case "devices", "uplinks", "uplink_defaults":
			continue
		}
		if !slices.ContainsFunc(slices.Concat(fixed(), live()), func(p part) bool { return key == p.key || strings.HasPrefix(key, p.key+".") }) {
			t.Errorf("%s", key)
		}
	}
}

// TestReloadCountsCrashes: a run that gets its first output from a reload counts as a crash
// where it does not end in good order.
func TestReloadCountsCrashes(t *testing.T) {
	r := newReloader(t, "devices: {door: {digital_in: GPIO17}}\n")
	noted := func() bool { _, err := os.Stat(filepath.Join(r.dir, "data", "running")); return err == nil }
	if noted() {
		t.Error("without an output it counts")
	}
	for _, devices := range []string{"pump: {digital_out: GPIO27}", "pump: {digital_out: GPIO23}"} {
		r.write("devices: {" + devices + "}\n")
		r.reload(200)
		if !noted() {
			t.Error("it does not count")
		}
	}
	r.end()
	if noted() {
		t.Error("a good end counts")
	}
}
