package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// fault is one blow to a running system, and the cure after it.
type fault struct {
	name string
	hit  func(ctx context.Context, r *rig) (string, error) // gives a remark
}

// strike is what a fault met and did.
type strike struct {
	name     string
	inFlight int64 // requests of clients under way when it struck
	waiting  int64 // messages on the line, not acknowledged by the broker
	backlog  int   // events acknowledged to clients and not yet on record
	cut      int64 // requests that broke off because of it
	remark   string
}

func (s strike) String() string {
	return fmt.Sprintf("%-22s requests in flight %d (broke off %d), messages in flight %d, backlog %d; %s",
		s.name, s.inFlight, s.cut, s.waiting, s.backlog, s.remark)
}

// The faults. Each leaves the system whole again.
var (
	brokerTerm = fault{"broker SIGTERM", func(ctx context.Context, r *rig) (string, error) {
		return r.restartBroker(ctx, func() error { return r.broker.Term(10 * time.Second) })
	}}
	brokerKill = fault{"broker SIGKILL", func(ctx context.Context, r *rig) (string, error) {
		return r.restartBroker(ctx, func() error { return r.broker.Kill() })
	}}
	agentTerm = fault{"agent SIGTERM", func(ctx context.Context, r *rig) (string, error) {
		return r.restartAgent(ctx, func() error { return r.agent.Term(20 * time.Second) })
	}}
	agentKill = fault{"agent SIGKILL", func(ctx context.Context, r *rig) (string, error) {
		return r.restartAgent(ctx, func() error { return r.agent.Kill() })
	}}
	linkFreeze = fault{"link frozen 45 s", func(ctx context.Context, r *rig) (string, error) {
		return r.freezeLink(ctx, 45*time.Second)
	}}
)

// strikeOnce waits until the fault has something to hit, strikes, and waits until
// events arrive again.
func (r *rig) strikeOnce(ctx context.Context, f fault) (strike, error) {
	s := strike{name: f.name}
	wait, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("nothing was in flight and no backlog in 10 s"))
	defer cancel()
	err := poll(wait, time.Millisecond, func() (bool, error) {
		s.inFlight, s.waiting, s.backlog = r.load.InFlight(), r.recorder.Waiting(), r.ledger.Open()
		return s.inFlight > 0 || s.backlog > 0, nil
	})
	if err != nil {
		return s, fmt.Errorf("strike with %s: %w", f.name, err)
	}
	cut := r.load.Cut()
	if s.remark, err = f.hit(ctx, r); err != nil {
		return s, fmt.Errorf("strike with %s: %w", f.name, err)
	}
	s.cut = r.load.Cut() - cut
	if err := r.flowing(ctx); err != nil {
		return s, fmt.Errorf("recover from %s: %w", f.name, err)
	}
	return s, nil
}

// flowing waits until new events come through to the broker, and then a little
// longer, so that the next fault meets a system at work.
func (r *rig) flowing(ctx context.Context) error {
	wait, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errors.New("no event reached the broker in 60 s"))
	defer cancel()
	before := r.recorder.Total()
	err := poll(wait, 10*time.Millisecond, func() (bool, error) { return r.recorder.Total() > before, r.broken() })
	if err != nil {
		return err
	}
	return pause(ctx, r.between)
}

func (r *rig) restartBroker(ctx context.Context, stop func() error) (string, error) {
	if err := stop(); err != nil {
		return "", err
	}
	if err := pause(ctx, 1500*time.Millisecond); err != nil {
		return "", err
	}
	began, before := time.Now(), r.recorder.Total()
	if err := r.broker.Start(ctx); err != nil {
		return "", err
	}
	wait, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errors.New("the uplink did not come back in 60 s"))
	defer cancel()
	if err := poll(wait, 10*time.Millisecond, func() (bool, error) { return r.recorder.Total() > before, nil }); err != nil {
		return "", err
	}
	return fmt.Sprintf("delivering again after %v", time.Since(began).Round(time.Millisecond)), nil
}

func (r *rig) restartAgent(ctx context.Context, stop func() error) (string, error) {
	if err := stop(); err != nil {
		return "", err
	}
	if err := pause(ctx, 300*time.Millisecond); err != nil {
		return "", err
	}
	began := time.Now()
	if err := r.agent.StartReady(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("ready again after %v", time.Since(began).Round(time.Millisecond)), nil
}

// freezeLink holds every byte for a while. The agent's progress watchdog must
// have torn the connection down by then, which shows as new connections.
func (r *rig) freezeLink(ctx context.Context, d time.Duration) (string, error) {
	dials := r.link.Accepted()
	r.link.Freeze()
	defer r.link.Thaw()
	began, noticed := time.Now(), time.Duration(0)
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if noticed == 0 && r.link.Accepted() > dials {
			noticed = time.Since(began)
		}
		return time.Since(began) >= d, r.broken()
	})
	if err != nil {
		return "", err
	}
	if noticed == 0 {
		return "", fmt.Errorf("the link was frozen for %v and the uplink did not tear it down", d)
	}
	backlog := r.ledger.Open()
	if backlog == 0 {
		return "", fmt.Errorf("the link was frozen for %v and no backlog grew", d)
	}
	return fmt.Sprintf("torn down after %v, %d events waiting at the end", noticed.Round(100*time.Millisecond), backlog), nil
}

// report prints the strikes of a run and its ledger.
func report(w io.Writer, title string, strikes []strike, lines ...string) {
	fmt.Fprintf(w, "\n%s\n", title)
	for i, s := range strikes {
		fmt.Fprintf(w, "  %2d %v\n", i+1, s)
	}
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

// indent sets a program's words off from ours.
func indent(s string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n      ")
}
