package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"fieldpost/edge"
)

// agentSource reads from the running agent.
type agentSource struct{ c *client }

var _ eventSource = (*agentSource)(nil)

// outline asks the agent what it is and how far its rings are.
func (s *agentSource) outline(ctx context.Context) (o outline, err error) {
	var st status
	if err := s.c.get(ctx, "/v1/status", nil, &st); err != nil {
		return o, err
	}
	var list ringList
	if err := s.c.get(ctx, "/v1/rings", nil, &list); err != nil {
		return o, err
	}
	return outline{agent: st.Agent.ID, epoch: st.Store.Epoch, rings: list.Rings}, nil
}

// ring hands out what one ring has, page by page.
func (s *agentSource) ring(ctx context.Context, name string, each func(*edge.Event, json.RawMessage) error) error {
	_, err := showAll(ctx, s.c, url.Values{"ring": {name}}, 0, func(raw json.RawMessage) error {
		var ev edge.Event
		if err := json.Unmarshal(raw, &ev); err != nil {
			return err
		}
		return each(&ev, raw)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
