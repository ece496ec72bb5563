package localapi

import (
	"context"
	"encoding/json"
	"errors"

	"fieldpost/edge"
)

// postConfirm is for the client that plays an external device: what it did with a
// command.
func postConfirm(s *Server, r *request) (any, error) {
	var in confirmBody
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	return s.confirm(r.Context(), r.who, r.PathValue("id"), in)
}

// confirm does a confirmation and gives the command's outcome.
func (s *Server) confirm(ctx context.Context, who principal, id string, in confirmBody) (edge.Outcome, error) {
	if s.Devices == nil {
		return edge.Outcome{}, notFound("command %q: %v", id, edge.ErrNoCommand)
	}
	device, ok := s.Devices.Asked(id)
	if !ok || !who.sees(device) { // in the words of one that is not there
		return edge.Outcome{}, notFound("command %q: %v", id, edge.ErrNoCommand)
	}
	if in.Why != "" && null(in.Value) != nil {
		return edge.Outcome{}, pointed("#/why", "it is for a command that was not done: give it or a value, not both")
	}
	out, err := s.Devices.Confirm(ctx, edge.Confirmation{ID: id, Value: null(in.Value), Why: in.Why, From: who.from()})
	if err != nil {
		p := *asProblem(err)
		if errors.Is(err, edge.ErrRefused) || errors.Is(err, edge.ErrAbsent) {
			p.Why = &out
		}
		return out, &p
	}
	return out, nil
}

// postReport is for the client that plays an external device: what changed there by
// itself.
func postReport(s *Server, r *request) (any, error) {
	var in struct {
		Value json.RawMessage `json:"value"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if s.Devices == nil {
		return nil, notFound("device %q: %v", name, edge.ErrNoDevice)
	}
	if in.Value == nil {
		return nil, pointed("#/value", "want what the device is now")
	}
	ev, err := s.Devices.Report(r.Context(), name, in.Value, r.who.from())
	if err != nil {
		return nil, notStored(err)
	}
	return created{receiptAnswer{ev}}, nil
}
