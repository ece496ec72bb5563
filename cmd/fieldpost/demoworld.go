package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// demoConfig is the demo's config: data_dir, socket, key, broker.
const demoConfig = `agent: {id: demo}
data_dir: %q

devices:
  door: {digital_in: GPIO17, pull: up, debounce: 30ms, states: {on: open, off: closed}, ring: alarms, room: shed}
  pump: {digital_out: GPIO27, boot: off, stop: off, max_on: 10m, remote: true, room: greenhouse}
  flow: {counter: GPIO22, edge: rising, every: 2s, scale: 0.00225, unit: L, room: greenhouse}
  air:  {sim: sine, value: 21, amplitude: 3, period: 2m, noise: 0.2, unit: "°C", every: 2s, room: greenhouse}

store: {headroom: 0}

api: {socket: %q}
keys: {demo: {role: admin, secret: %q}}

uplinks:
  broker: {mqtt: "mqtt://%s"}
`

// The lines that the script moves, as demoConfig names them.
const (
	demoDoor = edge.Pin("GPIO17")
	demoFlow = edge.Pin("GPIO22")
	demoPump = edge.Pin("GPIO27")
)

// How often the script does something.
const (
	demoTick       = 50 * time.Millisecond // half a turn of the flow meter's wheel
	demoDoorEvery  = 5 * time.Second
	demoPumpEvery  = 20 * time.Second
	demoPumpFirst  = 2 * time.Second
	demoPumpPulses = "6s"
)

// demoScript is the world around the board: the door opens and closes, somebody
// switches the pump on, and water flows while it runs.
func demoScript(ctx context.Context, board *gpio.SimBoard, c *client) {
	defer c.close()
	tick := time.NewTicker(demoTick)
	defer tick.Stop()
	open, wheel := false, false
	nextDoor, nextPump := time.Now(), time.Now().Add(demoPumpFirst)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if running, err := board.Level(demoPump); err == nil && running {
				wheel = !wheel
				_ = board.Drive(demoFlow, wheel) // the line is an input of ours
			}
			if now.After(nextDoor) {
				open, nextDoor = !open, now.Add(demoDoorEvery)
				_ = board.Drive(demoDoor, open)
			}
			if now.After(nextPump) {
				nextPump = now.Add(demoPumpEvery)
				// A refusal is told by an event like any other.
				_ = c.call(ctx, http.MethodPost, "/v1/devices/pump/pulse", nil, map[string]string{"value": demoPumpPulses}, nil)
			}
		}
	}
}

// randomKey is a key that nobody can guess.
func randomKey() string { return "fp_" + rand.Text() }
