package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	"fieldpost/localapi"
	"fieldpost/queue"
)

// fakeKeeper counts what the button asks for.
type fakeKeeper struct {
	mu   sync.Mutex
	did  []string
	kept []string
	err  error
}

func (k *fakeKeeper) note(what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.did = append(k.did, what)
	return k.err
}

func (k *fakeKeeper) OpenClaim() error { return k.note("claim") }

func (k *fakeKeeper) ForgetAccess(context.Context) (localapi.Forgotten, error) {
	return localapi.Forgotten{Deleted: 1, Kept: k.kept, Claimed: true}, k.note("reset")
}

// What the button does is decided when it is let go of.
func TestButtonActs(t *testing.T) {
	rig := edgetest.NewRig(t)
	k := &fakeKeeper{}
	f := &front{a: &agent{log: slog.New(slog.DiscardHandler), pump: rig.Pump}, keeper: k}
	for _, c := range []struct {
		hold gpio.Hold
		want string
	}{
		{gpio.Hold{Down: true}, "[]"},
		{gpio.Hold{Down: true, Step: 1}, "[]"},
		{gpio.Hold{Down: true, Step: 2}, "[]"},
		{gpio.Hold{Down: true, Step: 2, Stuck: true}, "[]"},
		{gpio.Hold{}, "[]"},
		{gpio.Hold{For: time.Second}, "[]"},
		{gpio.Hold{For: time.Hour, Step: 2, Stuck: true}, "[]"},
		{gpio.Hold{For: 4 * time.Second, Step: 1}, "[claim]"},
		{gpio.Hold{For: 20 * time.Second, Step: 2}, "[reset]"},
	} {
		k.did = nil
		f.held(t.Context(), c.hold)
		if got := fmt.Sprint(k.did); got != c.want {
			t.Errorf("%+v did %s, want %s", c.hold, got, c.want)
		}
	}
	k.err = errors.New("full")
	f.held(t.Context(), gpio.Hold{For: 20 * time.Second, Step: 2})
	if err := rig.Pump.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	evs, _, _, err := rig.Log.Ring(edge.RingAudit, 0, queue.Max{})
	if err != nil || len(evs) != 2 || !strings.Contains(string(evs[0].Data), "down for over 1m0s") || !strings.Contains(string(evs[1].Data), "full") || evs[1].From != "system:button" {
		t.Errorf("audit has %v %v", evs, err)
	}
}

// An agent without a claim code has an admin's key in its config, or needs none.
func TestButtonTellsWhyItStaysClaimed(t *testing.T) {
	for _, kept := range [][]string{nil, {"boss"}} {
		var told strings.Builder
		f := &front{a: &agent{log: slog.New(slog.NewTextHandler(&told, nil))}, keeper: &fakeKeeper{kept: kept}}
		f.held(t.Context(), gpio.Hold{For: 20 * time.Second, Step: 2})
		if got := strings.Contains(told.String(), "stays claimed"); got != (kept != nil) {
			t.Errorf("kept %v: %s", kept, told.String())
		}
	}
}

// TestFront runs the whole agent with a light and a button on a simulated board: a held
// button forgets a key, and the lines are shown as the agent's own.
func TestFront(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "led: GPIO21\nbutton: {pin: GPIO3, claim: 1s, reset: 3s}\n")
	board := edgetest.NewBoard("boot-1")
	b := board.Board()
	pins := gpio.NewSimBoard(gpio.SimOptions{Mono: b.Mono})
	r := start(t, Options{Config: cfg, Board: &b, Pins: pins})
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", cfg.API.Socket)
		}}}
	res, err := client.Post("http://fieldpost/v1/keys", "application/json", strings.NewReader(`{"name":"app","role":"write"}`))
	if err != nil || res.StatusCode != 201 {
		t.Fatalf("got %v %v", res, err)
	}
	_ = res.Body.Close()
	var st struct {
		LED      string
		Problems []string
	}
	until(t, "the light is calm", func() bool { return over(t, cfg.API.Socket, "/v1/status", &st) == nil && st.LED == "calm" })
	var header struct{ Pins []edge.PinStatus }
	until(t, "the lines are held", func() bool {
		owned := 0
		if err := over(t, cfg.API.Socket, "/v1/pins", &header); err != nil {
			t.Fatal(err)
		}
		for _, p := range header.Pins {
			if p.Name == "GPIO21" && p.Owner == "fieldpost:led" || p.Name == "GPIO3" && p.Owner == "fieldpost:button" {
				owned++
			}
		}
		return owned == 2
	})
	if err := pins.Drive("GPIO3", false); err != nil {
		t.Fatal(err)
	}
	until(t, "the light shows a reset", func() bool { return over(t, cfg.API.Socket, "/v1/status", &st) == nil && st.LED == "reset" })
	var keys struct{ Keys []struct{ Name string } }
	if err := over(t, cfg.API.Socket, "/v1/keys", &keys); err != nil || len(keys.Keys) != 1 {
		t.Errorf("it is held still, and the keys are %+v %v", keys, err)
	}
	if err := pins.Drive("GPIO3", true); err != nil {
		t.Fatal(err)
	}
	until(t, "the key is gone", func() bool { return over(t, cfg.API.Socket, "/v1/keys", &keys) == nil && len(keys.Keys) == 0 })
	if err := over(t, cfg.API.Socket, "/v1/status", &st); err != nil || len(st.Problems) != 0 {
		t.Errorf("got %+v %v", st, err)
	}
	r.end()

	store := edgetest.OpenStore(t, edgetest.Options(cfg.DataDir, board))
	defer store.Close()
	evs, _, _, err := edge.NewLog(store, edgetest.NewClock(t, board, store), "box").Ring(edge.RingAudit, 0, queue.Max{})
	last, _ := json.Marshal(evs[len(evs)-1])
	if err != nil || !strings.Contains(string(last), `"did":"forgotten"`) || !strings.Contains(string(last), "system:button") {
		t.Errorf("audit ends with %s %v", last, err)
	}
}

// A line that another has is a problem of the status, and the rest runs.
func TestFrontIsBusy(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "led: GPIO21\nbutton: GPIO3\n")
	pins := gpio.NewSimBoard(gpio.SimOptions{})
	pins.Hold("GPIO21", "somebody")
	pins.Hold("GPIO3", "somebody")
	b := edgetest.NewBoard("boot-1").Board()
	r := start(t, Options{Config: cfg, Board: &b, Pins: pins})
	defer r.end()
	var st struct {
		LED      string
		Problems []string
	}
	until(t, "both are problems", func() bool {
		all := ""
		if over(t, cfg.API.Socket, "/v1/status", &st) == nil {
			all = strings.Join(st.Problems, " ")
		}
		return st.LED == "" && strings.Contains(all, "light can't be used: request line GPIO21: somebody holds it.") && strings.Contains(all, "button can't be used: request line GPIO3")
	})
}
