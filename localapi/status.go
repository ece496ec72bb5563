package localapi

import (
	"fmt"
	"time"

	"fieldpost/edge"
)

// stuckAfter is how long the pump may stand still with something to store.
const stuckAfter = 30 * time.Second

// statusAnswer is everything at a glance.
type statusAnswer struct {
	Agent    agentStatus         `json:"agent"`
	State    string              `json:"state"` // ok or degraded
	Problems []string            `json:"problems"`
	Clock    clockStatus         `json:"clock"`
	Store    storeStatus         `json:"store"`
	Wear     *edge.WearStatus    `json:"wear,omitempty"`
	Devices  map[string]int      `json:"devices"` // total, and by status
	Uplinks  []edge.UplinkStatus `json:"uplinks"`
	Claimed  bool                `json:"claimed"`
	LED      string              `json:"led,omitempty"` // what the light shows, where there is one
	You      youStatus           `json:"you"`
	Demo     bool                `json:"demo"`
}

type agentStatus struct {
	ID      string  `json:"id"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime"` // seconds
}

type clockStatus struct {
	State edge.ClockState `json:"state"`
	Bound float64         `json:"bound,omitempty"` // seconds
	Now   time.Time       `json:"now"`             // the board's own
}

type storeStatus struct {
	Epoch     string  `json:"epoch"`
	Position  string  `json:"position"` // of the newest event
	Events    uint64  `json:"events"`   // stored since the start
	Waiting   int     `json:"waiting"`  // not yet flushed
	Rings     int     `json:"rings"`
	Free      int64   `json:"free"` // bytes
	Flushes   uint64  `json:"flushes"`
	FlushMS   float64 `json:"flush_ms"` // the last one
	Moves     uint64  `json:"moves"`
	Unmoved   int     `json:"unmoved"`
	Salvaging int     `json:"salvaging"`
	Full      bool    `json:"full"`
	ReadOnly  bool    `json:"read_only"`
	Error     string  `json:"error,omitempty"`
}

type youStatus struct {
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	Names []string `json:"names,omitempty"`
}

func getStatus(s *Server, r *request) (any, error) {
	a := statusAnswer{
		Agent:   agentStatus{s.opt.Agent, s.opt.Version, time.Since(s.started).Seconds()},
		Store:   s.storeStatus(),
		Devices: map[string]int{"total": 0},
		Uplinks: s.uplinks(),
		Claimed: s.claimed(),
		You:     youStatus{r.who.name, r.who.role.String(), r.who.names},
		Demo:    s.Cut != nil || s.opt.Demo,
	}
	if s.Wear != nil {
		w := s.Wear()
		a.Wear = &w
	}
	a.Clock.Now = time.Now().UTC()
	var bound time.Duration
	a.Clock.State, bound = s.Clock.State()
	a.Clock.Bound = bound.Seconds()
	for _, d := range s.devices(r.who) {
		a.Devices["total"]++
		a.Devices[d.Status]++
	}
	a.Problems = append(append(s.storeProblems(), s.ownProblems(r.who)...), s.uplinkProblems()...)
	if s.Light != nil {
		a.LED = s.Light()
	}
	a.State = "ok"
	if len(a.Problems) > 0 {
		a.State = "degraded"
	}
	return a, nil
}

func (s *Server) storeStatus() storeStatus {
	h, p := s.Store.Health(), s.Pump.Stats()
	st := storeStatus{
		Epoch:    fmt.Sprintf("%08x", s.Store.Epoch()),
		Position: s.now(edge.Query{}).String(),
		Events:   p.Events, Waiting: p.Waiting, Rings: len(s.Store.Rings()),
		Free: h.Free, Flushes: h.Flushes, FlushMS: float64(p.Took.Microseconds()) / 1000,
		Moves: h.Moves, Unmoved: h.Unmoved, Salvaging: h.Salvaging, Full: h.Full, ReadOnly: h.ReadOnly,
	}
	if h.Err != nil {
		st.Error = h.Err.Error()
	}
	return st
}

// storeProblems says what keeps the agent from storing, in sentences.
func (s *Server) storeProblems() []string {
	out := []string{}
	h, p := s.Store.Health(), s.Pump.Stats()
	switch {
	case h.ReadOnly:
		out = append(out, "The disk is read-only: nothing new is stored. What is stored can be read.")
	case h.Full:
		out = append(out, "The disk is full: nothing new is stored until there is room.")
	case h.Err != nil:
		out = append(out, fmt.Sprintf("The disk does not take what is written: %v.", h.Err))
	case p.Err != nil:
		out = append(out, fmt.Sprintf("The last flush did not work: %v.", p.Err))
	}
	if p.Waiting > 0 && !p.Progress.IsZero() && time.Since(p.Progress) > stuckAfter {
		out = append(out, fmt.Sprintf("%d events have been waiting for the disk for %d s.", p.Waiting, int(time.Since(p.Progress).Seconds())))
	}
	return out
}

// ownProblems says what is wrong with the board, in sentences.
func (s *Server) ownProblems(who principal) []string {
	var out []string
	for name, n := range s.Pump.Stats().Lost {
		if n > 0 && who.sees(name) {
			out = append(out, fmt.Sprintf("%d events of %s were lost while nothing could be stored.", n, name))
		}
	}
	for _, d := range s.devices(who) {
		if d.Status == "failed" || d.Status == "absent" {
			out = append(out, fmt.Sprintf("Device %s is %s%s.", d.Name, d.Status, because(d.Error)))
		}
	}
	if s.Problems != nil {
		out = append(out, s.Problems()...)
	}
	return out
}

func (s *Server) uplinkProblems() (out []string) {
	for _, u := range s.uplinks() {
		if u.State == "down" {
			out = append(out, fmt.Sprintf("Uplink %s is down%s.", u.Name, because(u.Error)))
		}
	}
	return out
}

// because gives a reason, where there is one.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// getHealthz says that the agent lives: it answered.
func getHealthz(*Server, *request) (any, error) {
	return map[string]string{"status": "ok"}, nil
}

// getReadyz says whether events can be stored now. Devices and uplinks may be
// down: the agent is made for that.
func getReadyz(s *Server, _ *request) (any, error) {
	if p := s.storeProblems(); len(p) > 0 {
		return nil, newProblem(503, "not-ready", "Not ready", "%s", p[0]).after(5 * time.Second)
	}
	return map[string]string{"status": "ready"}, nil
}
