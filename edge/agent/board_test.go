package agent

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio/gpiotest"
)

// over asks a running agent by its socket.
func over(t *testing.T, socket, path string, into any) error {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	res, err := client.Get("http://fieldpost" + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// until asks until the answer is as wanted; a minute is long even in the
// emulated board.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

type devicesAnswer struct{ Devices []edge.DeviceStatus }

func (a devicesAnswer) named(name string) edge.DeviceStatus {
	for _, d := range a.Devices {
		if d.Name == name {
			return d
		}
	}
	return edge.DeviceStatus{}
}

// TestBoardAgent: the binary itself turns an edge of a kernel's line into an
// event that its API serves, with the kernel's stamp.
func TestBoardAgent(t *testing.T) {
	sim := gpiotest.OnBoard(t)
	bin := os.Getenv("FIELDPOST_BIN")
	if bin == "" {
		t.Fatal("FIELDPOST_BIN names no binary")
	}
	dir := testDir(t)
	load(t, dir, "devices:\n  door: {digital_in: GPIO17}\n  pump: {digital_out: GPIO27}\n  taken: {digital_in: GPIO18}\n")
	sim.Pull(t, 17, false)
	cmd := exec.CommandContext(t.Context(), bin, "run", "--config", filepath.Join(dir, "fieldpost.yaml"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // FIELDPOST_... would be its config
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was told to end by then
	socket := filepath.Join(dir, "s.sock")
	var got devicesAnswer
	until(t, "door and pump are ok", func() bool {
		return over(t, socket, "/v1/devices", &got) == nil && got.named("door").Status == "ok" && got.named("pump").Status == "ok"
	})
	until(t, "who holds GPIO18", func() bool {
		return over(t, socket, "/v1/devices", &got) == nil && strings.Contains(got.named("taken").Error, "hogged")
	})
	before := kernelMono(t)
	sim.Pull(t, 17, true)
	after := kernelMono(t)
	var page struct {
		Events []struct {
			Name string
			Mono int64
			Data struct {
				Value     bool
				LineSeqno int `json:"line_seqno"`
			}
		}
	}
	until(t, "the edge is served", func() bool {
		if over(t, socket, "/v1/events?name=door", &page) != nil || len(page.Events) == 0 {
			return false
		}
		return page.Events[len(page.Events)-1].Data.LineSeqno == 1
	})
	ev := page.Events[len(page.Events)-1]
	if !ev.Data.Value || ev.Mono < before || ev.Mono > after {
		t.Errorf("event %+v, the edge was made between %d and %d", ev, before, after)
	}
}

func kernelMono(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// lineless runs an agent with a device on a line that it can't have, and gives
// what it says of it.
func lineless(t *testing.T) (device, problems string) {
	t.Helper()
	dir := testDir(t)
	r := start(t, Options{Config: load(t, dir, "devices: {door: {digital_in: GPIO17}}\n")})
	defer r.end()
	socket := filepath.Join(dir, "s.sock")
	var got devicesAnswer
	until(t, "door is absent", func() bool {
		return over(t, socket, "/v1/devices", &got) == nil && got.named("door").Status == "absent"
	})
	var status struct{ Problems []string }
	if err := over(t, socket, "/v1/status", &status); err != nil {
		t.Fatal(err)
	}
	return got.named("door").Error, strings.Join(status.Problems, "\n")
}

// TestNoneAgent: a machine with no GPIO at all runs the agent, which says so.
func TestNoneAgent(t *testing.T) {
	if chips, _ := filepath.Glob("/dev/gpiochip*"); len(chips) > 0 {
		t.Skipf("this machine has GPIO: %q", chips)
	}
	device, problems := lineless(t)
	for _, said := range []string{device, problems} {
		if !strings.Contains(said, "this machine has no GPIO") || !strings.Contains(said, "/dev/gpiochip*") || !strings.Contains(said, "--simulate") {
			t.Errorf("it says %q", said)
		}
	}
}

// TestDeniedAgent: a user who may not open the chips runs the agent, which says
// what to do.
func TestDeniedAgent(t *testing.T) {
	if os.Getenv("FIELDPOST_BOARD") != "denied" {
		t.Skip("make test-board runs it as a user without rights")
	}
	if os.Geteuid() == 0 {
		t.Fatal("it runs as root")
	}
	device, problems := lineless(t)
	for _, said := range []string{device, problems} {
		if !strings.Contains(said, "/dev/gpiochip") || !strings.Contains(said, "permission denied") || !strings.Contains(said, "usermod -aG gpio") {
			t.Errorf("it says %q", said)
		}
	}
}
