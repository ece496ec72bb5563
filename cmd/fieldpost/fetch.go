package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// fetch reads one path of the agent, whole.
func (a *app) fetch(ctx context.Context, path string) (json.RawMessage, error) {
	c := a.client()
	defer c.close()
	var raw json.RawMessage
	err := c.get(ctx, path, nil, &raw)
	return raw, err
}

// send asks the agent to do something and gives its answer.
func (a *app) send(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	c := a.client()
	defer c.close()
	var raw json.RawMessage
	err := c.call(ctx, method, path, nil, body, &raw)
	return raw, err
}

// rawOr prints an answer as it came, unless there is an error.
func (a *app) rawOr(raw json.RawMessage, err error) error {
	if err != nil {
		return err
	}
	return printRaw(a.Out, raw)
}

// decodeAnswer reads an answer of the agent.
func decodeAnswer(raw json.RawMessage, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}
