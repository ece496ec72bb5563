package localapi

import (
	"context"
	"net/http"
	"time"

	"fieldpost/edge"
)

// testTime is how long the test of an uplink may take.
const testTime = 45 * time.Second

func (s *Server) uplinks() []edge.UplinkStatus {
	out := []edge.UplinkStatus{}
	if s.Uplinks != nil {
		out = append(out, s.Uplinks.Uplinks()...)
	}
	return out
}

func getUplinks(s *Server, _ *request) (any, error) {
	return map[string]any{"uplinks": s.uplinks()}, nil
}

// getFates tells how far an event has come at each uplink. Who may not read the event
// is not told.
func getFates(s *Server, r *request) (any, error) {
	v, err := getEvent(s, r)
	if err != nil {
		return nil, err
	}
	fates := []edge.UplinkFate{}
	if ev := v.(*edge.Event); s.Uplinks != nil {
		fates = append(fates, s.Uplinks.Fates(ev.Ring, ev.Seq)...)
	}
	return map[string]any{"uplinks": fates}, nil
}

// uplink is the name in the path, where there is such an uplink.
func (s *Server) uplink(r *request) (string, error) {
	name := r.PathValue("uplink")
	for _, u := range s.uplinks() {
		if u.Name == name {
			return name, nil
		}
	}
	return "", notFound("there is no uplink %q", name)
}

func postTest(s *Server, r *request) (any, error) {
	name, err := s.uplink(r)
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(testTime + 5*time.Second)
	rc := http.NewResponseController(r.w)
	if err := rc.SetReadDeadline(limit); err != nil {
		return nil, err
	}
	if err := rc.SetWriteDeadline(limit); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTime)
	defer cancel()
	steps, err := s.Uplinks.Test(ctx, name)
	if err != nil {
		return nil, newProblem(http.StatusBadGateway, "not-tested", "Not tested", "test uplink %q: %v", name, err)
	}
	ok := len(steps) > 0
	for _, step := range steps {
		ok = ok && step.OK
	}
	return struct {
		OK    bool   `json:"ok"`
		Steps []Step `json:"steps"`
	}{ok, steps}, nil
}

func postCut(s *Server, r *request) (any, error) {
	if s.Cut == nil {
		return nil, notFound("a line can be cut in the demo only")
	}
	name, err := s.uplink(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Cut *bool `json:"cut"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if in.Cut == nil {
		return nil, pointed("#/cut", "want true or false")
	}
	if err := s.Cut(r.Context(), name, *in.Cut); err != nil {
		return nil, err
	}
	return map[string]any{"uplink": name, "cut": *in.Cut}, nil
}
