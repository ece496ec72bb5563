package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"fieldpost/edge"
)

// maxCommandID is the most bytes of a command's id.
const maxCommandID = 128

func (s *Server) devices(who principal) []edge.DeviceStatus {
	out := []edge.DeviceStatus{}
	if s.Devices == nil {
		return out
	}
	for _, d := range s.Devices.Devices() {
		if who.sees(d.Name) {
			out = append(out, d)
		}
	}
	return out
}

func getDevices(s *Server, r *request) (any, error) {
	v := r.URL.Query()
	for k := range v {
		if k != "room" && k != "tag" && k != "q" {
			return nil, badRequest("parameter %q is not known", k)
		}
	}
	room, tag, q := v.Get("room"), v.Get("tag"), strings.ToLower(v.Get("q"))
	found := slices.DeleteFunc(s.devices(r.who), func(d edge.DeviceStatus) bool {
		return room != "" && d.Room != room ||
			tag != "" && !slices.Contains(d.Tags, tag) ||
			q != "" && !strings.Contains(strings.ToLower(d.Name+"\n"+d.Label+"\n"+d.Room), q)
	})
	return map[string]any{"devices": found}, nil
}

func getDevice(s *Server, r *request) (any, error) {
	name := r.PathValue("name")
	if s.Devices != nil {
		if d, ok := s.Devices.Device(name); ok {
			return d, nil
		}
	}
	return nil, notFound("device %q: %v", name, edge.ErrNoDevice)
}

func postCommand(s *Server, r *request) (any, error) {
	var in commandBody
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	return s.command(r.Context(), r.who, r.PathValue("name"), r.PathValue("command"), in)
}

// command does a command and gives what it did. A refusal is an error that
// carries the outcome.
func (s *Server) command(ctx context.Context, who principal, device, verb string, in commandBody) (edge.Outcome, error) {
	if s.Devices == nil {
		return edge.Outcome{}, notFound("device %q: %v", device, edge.ErrNoDevice)
	}
	if len(in.ID) > maxCommandID {
		return edge.Outcome{}, pointed("#/id", "at most %d bytes", maxCommandID)
	}
	c := edge.Command{ID: in.ID, Device: device, Verb: verb, Value: null(in.Value), If: in.If, From: who.from()}
	if in.Expires != nil {
		c.Expires = *in.Expires
	}
	out, err := s.Devices.Command(ctx, c)
	if err != nil {
		p := *asProblem(err)
		if errors.Is(err, edge.ErrRefused) || errors.Is(err, edge.ErrAbsent) {
			p.Why = &out
		}
		return out, &p
	}
	if !out.Done { // a repeat of what was refused is refused
		p := conflict("%s", out.Why)
		p.Why = &out
		return out, p
	}
	return out, nil
}

// null makes a JSON null none.
func null(v json.RawMessage) json.RawMessage {
	if string(v) == "null" {
		return nil
	}
	return v
}

func getPins(s *Server, r *request) (any, error) {
	pins := []edge.PinStatus{}
	if s.Devices != nil {
		pins = append(pins, s.Devices.Pins()...)
	}
	for i := range pins {
		if d := pins[i].Device; r.who.names != nil && (d == "" || !r.who.sees(d)) {
			pins[i].Device, pins[i].Owner, pins[i].Level = "", "", nil
		}
	}
	return map[string]any{"pins": pins}, nil
}

func postDrive(s *Server, r *request) (any, error) {
	var in struct {
		Level *bool `json:"level"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if in.Level == nil {
		return nil, pointed("#/level", "want true or false")
	}
	var pin edge.Pin
	if err := pin.UnmarshalText([]byte(r.PathValue("pin"))); err != nil {
		return nil, notFound("%v", err)
	}
	if s.Devices == nil {
		return nil, notFound("this agent has no pins")
	}
	pins := s.Devices.Pins()
	i := slices.IndexFunc(pins, func(p edge.PinStatus) bool { return p.Name == string(pin) })
	if i < 0 {
		return nil, notFound("this board has no pin %s", pin)
	}
	if r.who.names != nil && (pins[i].Device == "" || !r.who.sees(pins[i].Device)) {
		return nil, forbidden("the key %q may not drive %s", r.who.name, pin)
	}
	if err := s.Devices.Drive(pin, *in.Level); err != nil {
		if p := asProblem(err); p.Status != http.StatusInternalServerError {
			return nil, p
		}
		return nil, conflict("%v", err) // a real board's, or an output
	}
	return map[string]any{"pin": string(pin), "level": *in.Level}, nil
}
