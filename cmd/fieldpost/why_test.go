package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge"
)

// TestWhy: a lamp that a client plays, from the command to what an uplink has of it.
func TestWhy(t *testing.T) {
	s := newSandbox(t, "")
	s.write("fieldpost.yaml", fmt.Sprintf(`
agent: {id: box}
data_dir: %s
api: {listen: off, socket: %s}
devices:
  lamp: {external: {answer: 20s}, room: Living Room}
  pump: {digital_out: GPIO27}
  door: {digital_in: GPIO17, ring: alarms}
uplinks:
  copy: {file: %s}
  dead: {mqtt: "mqtt://127.0.0.1:1", rings: [alarms]}
  lost: {mqtt: "mqtt://127.0.0.1:1"}
`, s.path("data"), s.socket, s.path("copy.ndjson")))
	a := s.agent()
	s.until("the lamp runs", func() bool { return strings.Contains(s.run("why", "lamp").out, "lamp: null (unknown)") })
	set := s.start("set", "lamp", "on")
	s.until("the lamp is asked", func() bool {
		return strings.Contains(s.run("events", "--name", "lamp", "--kind", "command", "-o", "json").out, `"wanted":true`)
	})
	var asked edge.Event
	if err := json.Unmarshal([]byte(strings.TrimSpace(s.run("events", "--name", "lamp", "--kind", "command", "-o", "json").out)), &asked); err != nil {
		t.Fatal(err)
	}
	var data struct{ ID string }
	if err := json.Unmarshal(asked.Data, &data); err != nil {
		t.Fatal(err)
	}
	var out edge.Outcome
	if err := s.call(http.MethodPost, "/v1/commands/"+data.ID, map[string]any{}, &out); err != nil || !out.Done || out.Event == "" {
		t.Errorf("confirm: %+v, %v", out, err)
	}
	set.exits(0, stopTime)
	if !strings.Contains(set.text(), "lamp: true (on)") {
		t.Errorf("set said %q", set.text())
	}
	s.until("the copy has it", func() bool { return strings.Count(s.run("why", "lamp").out, "copy: acknowledged") == 3 })
	s.run("why", "lamp").want(t, 0, "lamp: true (on)", "device:lamp", "lamp change true (on)", "client:local", "lamp command on: done", "lamp command on: asked of its client",
		"CLOCK", "copy: acknowledged, dead: not forwarded, lost: waiting")
	chain := decode[whyChain](t, s.run("why", "lamp", "-o", "json").want(t, 0))
	if len(chain.Links) != 3 || chain.End != endStart || chain.Cause != "" || chain.Device.Name != "lamp" || len(chain.Links[2].Uplinks) != 3 {
		t.Errorf("%+v", chain)
	}
	s.run("set", "pump", "on").want(t, 0)
	if chain := decode[whyChain](t, s.run("why", "pump", "-o", "json").want(t, 0)); len(chain.Links) != 2 {
		t.Errorf("the pump: %+v", chain)
	}
	s.run("why", "nobody").want(t, 1, "no such device")

	// After a restart the value is known and its event is found, not one that a client
	// published under the device's name.
	if err := s.call(http.MethodPost, "/v1/events", map[string]any{"name": "lamp", "kind": "sample", "data": map[string]any{"value": true}}, nil); err != nil {
		t.Fatal(err)
	}
	a.signal(sigTerm)
	a.exits(0, stopTime)
	s.agent()
	s.until("the chain is there again", func() bool { return strings.Contains(s.run("why", "lamp").out, "asked of its client") })
	s.run("why", "door").want(t, 0, "dead: waiting")
	s.run("rings", "delete", "events").want(t, 1)
	s.run("rings", "delete", "alarms").want(t, 0)
	s.run("why", "door").want(t, 0, "No event that gave it its value")
}

// TestWhyEnds: chains that no store makes by itself, from an agent that is played.
func TestWhyEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause func(n uint64) uint64 // 0: none
		gone  uint64
		links int
		end   string
		words string
	}{
		{"one", func(uint64) uint64 { return 0 }, 0, 1, endStart, "a change 100"},
		{"missing", func(n uint64) uint64 { return n - 1 }, 98, 2, endMissing, "event 00000007-98, is not in the log any more"},
		{"loop", func(n uint64) uint64 { return map[uint64]uint64{100: 99, 99: 98, 98: 100}[n] }, 0, 3, endLoop, "circle: event 00000007-100"},
		{"long", func(n uint64) uint64 { return n - 1 }, 0, 32, endLong, "More than 32 events led here; the next is 00000007-68"},
		{"gone", func(uint64) uint64 { return 0 }, 100, 0, endMissing, "event 00000007-100, is not in the log any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSandbox(t, "")
			serveChain(t, s.socket, c.cause, c.gone)
			s.run("why", "a").want(t, 0, c.words)
			chain := decode[whyChain](t, s.run("why", "a", "-o", "json").want(t, 0))
			if len(chain.Links) != c.links || chain.End != c.end {
				t.Errorf("%d links, end %s; want %d, %s", len(chain.Links), chain.End, c.links, c.end)
			}
		})
	}
}

// serveChain plays an agent whose device a got its value by event 100.
func serveChain(t *testing.T, socket string, cause func(uint64) uint64, gone uint64) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Clean(socket))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /v1/devices/a", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, edge.DeviceStatus{Name: "a", Status: "ok", Value: json.RawMessage("100"), Event: edge.EventID(7, 100)})
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		at, err := edge.ParsePosition(r.URL.Query().Get("after"))
		if err != nil {
			t.Error(err)
		}
		n := at.N + 1
		ev := edge.Event{Epoch: 7, N: n, Ring: "events", Seq: n, Name: "a", Kind: edge.Change, From: "device:a", Data: json.RawMessage(fmt.Sprintf(`{"value":%d}`, n))}
		if by := cause(n); by > 0 {
			ev.Cause = edge.EventID(7, by)
		}
		page := []edge.Event{ev}
		if n == gone {
			page = []edge.Event{}
		}
		answer(w, map[string]any{"events": page})
	})
	mux.HandleFunc("GET /v1/events/{ring}/{seq}/uplinks", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"uplinks": []edge.UplinkFate{{Uplink: "cloud", Fate: edge.Sent}}})
	})
	srv := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // it ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
}
