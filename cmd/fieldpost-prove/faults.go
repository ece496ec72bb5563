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
	// atAgent: it strikes the agent, so what it must meet is a client's request or a
	// backlog; else a message on the line or a backlog.
	atAgent bool
	// backlog: it leaves one that is being drained, and the next fault strikes into
	// that at once.
	backlog bool
}

// strike is what a fault met and did.
type strike struct {
	name     string
	requests int64 // of clients, that the agent had not answered when it struck
	messages int64 // on the line, that the broker had not acknowledged
	backlog  int   // events acknowledged to clients and not yet on record
	cut      int64 // requests that broke off because of it
	remark   string
}

func (s strike) String() string {
	return fmt.Sprintf("%-16s met %d requests (%d broke off), %d messages on the line, a backlog of %d; %s",
		s.name, s.requests, s.cut, s.messages, s.backlog, s.remark)
}

// The faults. Each leaves the system whole again.
var (
	brokerTerm = fault{name: "broker SIGTERM", hit: func(ctx context.Context, r *rig) (string, error) {
		return r.restartBroker(ctx, func() error { return r.broker.Term(10 * time.Second) })
	}}
	brokerKill = fault{name: "broker SIGKILL", hit: func(ctx context.Context, r *rig) (string, error) {
		return r.restartBroker(ctx, func() error { return r.broker.Kill() })
	}}
	agentTerm = fault{name: "agent SIGTERM", atAgent: true, hit: func(ctx context.Context, r *rig) (string, error) {
		return r.restartAgent(ctx, func() error { return r.agent.Term(20 * time.Second) })
	}}
	agentKill = fault{name: "agent SIGKILL", atAgent: true, hit: func(ctx context.Context, r *rig) (string, error) {
		return r.restartAgent(ctx, func() error { return r.agent.Kill() })
	}}
	linkFreeze = fault{name: "link frozen 45 s", backlog: true, hit: func(ctx context.Context, r *rig) (string, error) {
		return r.freezeLink(ctx, 45*time.Second)
	}}
)

// strikeTries bounds how often a fault is struck until it hit something.
const strikeTries = 5

// strikeOnce strikes until the fault has hit something under way, and waits until
// events arrive again. A blow to the agent may fall just after the last request
// was answered: it proves nothing then, and is struck again.
func (r *rig) strikeOnce(ctx context.Context, f fault) (strike, error) {
	for range strikeTries {
		s, err := r.blow(ctx, f)
		if err != nil {
			return s, err
		}
		if !f.atAgent || s.cut > 0 || s.backlog > 0 {
			return s, nil
		}
	}
	return strike{name: f.name}, fmt.Errorf("strike with %s: it hit nothing in %d tries", f.name, strikeTries)
}

// blow waits until there is something to hit, and strikes once.
func (r *rig) blow(ctx context.Context, f fault) (strike, error) {
	s := strike{name: f.name}
	wait, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("nothing was in flight and no backlog in 10 s"))
	defer cancel()
	err := poll(wait, 100*time.Microsecond, func() (bool, error) {
		s.requests, s.messages, s.backlog = r.load.InFlight(), r.recorder.Waiting(), r.ledger.Open()
		return s.backlog > 0 || f.atAgent && s.requests > 0 || !f.atAgent && s.messages > 0, nil
	})
	if err != nil {
		return s, fmt.Errorf("strike with %s: %w", f.name, err)
	}
	cut := r.load.Cut()
	if s.remark, err = f.hit(ctx, r); err != nil {
		return s, fmt.Errorf("strike with %s: %w", f.name, err)
	}
	s.cut = r.load.Cut() - cut
	between := r.between
	if f.backlog {
		between = 0
	}
	if err := r.flowing(ctx, between); err != nil {
		return s, fmt.Errorf("recover from %s: %w", f.name, err)
	}
	return s, nil
}

// flowing waits until new events come through to the broker, and then a little
// longer, so that the next fault meets a system at work.
func (r *rig) flowing(ctx context.Context, longer time.Duration) error {
	wait, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errors.New("no event reached the broker in 60 s"))
	defer cancel()
	before := r.recorder.Total()
	err := poll(wait, 10*time.Millisecond, func() (bool, error) { return r.recorder.Total() > before, r.broken() })
	if err != nil {
		return err
	}
	return pause(ctx, longer)
}

func (r *rig) restartBroker(ctx context.Context, stop func() error) (string, error) {
	if err := stop(); err != nil {
		return "", err
	}
	if err := pause(ctx, 1500*time.Millisecond); err != nil {
		return "", err
	}
	backlog := r.ledger.Open()
	if backlog == 0 {
		return "", errors.New("the broker was away and no backlog grew")
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
	return fmt.Sprintf("%d events waiting, delivered from %v on", backlog, time.Since(began).Round(time.Millisecond)), nil
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
