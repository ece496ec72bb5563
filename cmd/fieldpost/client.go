package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	answerWait = 60 * time.Second // the longest that one answer may take
	answerMax  = 64 << 20         // the most bytes of one answer
)

// client talks HTTP to the agent over its Unix socket. The socket gives the
// admin role to those who may open it, so there is no key.
type client struct {
	http   *http.Client
	socket string
}

// newClient makes a client; nothing is opened before the first call.
func newClient(socket string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{
		socket: socket,
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}},
	}
}

// close gives back the idle connection.
func (c *client) close() { c.http.CloseIdleConnections() }

// get reads path and decodes the answer into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, v)
}

// call sends body (nil: none) and decodes the answer into v (nil: not wanted).
// An answer of 300 or more is an error with the agent's own words.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	resp, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	if err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	if len(raw) > answerMax {
		return fmt.Errorf("read the answer to %s %s: more than %d bytes", method, path, answerMax)
	}
	if v == nil || len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// open sends a request and gives the answer with its body still to be read.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request %s %s: %w", method, path, err)
		}
		reader = bytes.NewReader(raw)
	}
	target := "http://localhost" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, fmt.Errorf("write the request %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp, nil
}

// explain says what a failed connection means for the user.
func (c *client) explain(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("talk to the agent at %s: %w", c.socket, err)
	}
	if errors.Is(err, os.ErrPermission) {
		return withCode(exitNoAgent, fmt.Errorf("connect to %s: %w: be root or in group fieldpost", c.socket, os.ErrPermission))
	}
	return withCode(exitNoAgent, fmt.Errorf("no agent at %s (%v): start it with \"fieldpost run\" or name its --socket", c.socket, op.Err))
}

// problem is the body of an answer that says no (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Status int    `json:"status"`
	Errors []struct {
		Detail string `json:"detail"`
	} `json:"errors"`
}

// statusError is the agent's refusal.
type statusError struct {
	Status  int
	Text    string
	Reasons []string // each in its own words; none where Text says it
}

func (e *statusError) Error() string { return e.Text }

// problemOf reads the agent's reason out of an answer.
func problemOf(resp *http.Response) error {
	e := &statusError{Status: resp.StatusCode, Text: resp.Status}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || (kind != "application/problem+json" && kind != "application/json") {
		return e
	}
	var p problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p); err != nil {
		return e
	}
	for _, why := range p.Errors {
		e.Reasons = append(e.Reasons, oneLine(why.Detail))
	}
	switch {
	case p.Detail != "":
		e.Text = oneLine(p.Detail)
	case p.Title != "":
		e.Text = oneLine(p.Title)
	}
	return e
}
