package uplink

import (
	"encoding/json"
	"time"

	"fieldpost/edge"
)

// notices are the system events that an uplink itself gives rise to. They are
// sent upstream like any others, so each kind is bounded in time: a line that
// flaps must not make traffic about its flapping.
type notices struct {
	uplink string
	pump   pump
	last   map[string]time.Time // by what is told
	held   int                  // ups and downs that were not told
}

// due reports whether what may be told again, and takes it as told.
func (n *notices) due(what string, now time.Time) bool {
	if at, ok := n.last[what]; ok && now.Sub(at) < noticeEvery {
		return false
	}
	if n.last == nil {
		n.last = map[string]time.Time{}
	}
	n.last[what] = now
	return true
}

// state tells that the uplink is up or down.
func (n *notices) state(state string, why error, now time.Time) {
	if !n.due(state, now) {
		n.held++
		return
	}
	data := struct {
		Uplink string `json:"uplink"`
		State  string `json:"state"`
		Error  string `json:"error,omitempty"`
		Untold int    `json:"untold,omitempty"` // ups and downs since the last that was told
	}{Uplink: n.uplink, State: state, Untold: n.held}
	if why != nil {
		data.Error = clip(why.Error(), 500)
	}
	n.held = 0
	body, err := json.Marshal(data)
	if err != nil { // a struct of texts and numbers always can be
		return
	}
	n.pump.Emit(edge.Event{Name: "uplink", Kind: edge.System, From: "system:uplink", Data: body}, nil)
}

// ledger tells what there is to have.
func (n *notices) ledger(make func() edge.Event, now time.Time) {
	if make != nil && n.due("ledger", now) {
		n.pump.Emit(make(), nil)
	}
}

// clip shortens a text from outside.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
