package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// E2E is an end-to-end run: clients, the real agent, a watched line, a real
// broker and a subscriber, and faults one after another while events go in.
type E2E struct {
	Binary  string // the built fieldpost
	Dir     string // an empty folder
	Clients int
	Rate    float64 // events a second
	Batch   int     // events in a message; 0 sends one message an event
	Faults  []fault
	// AtSubscriber judges loss at the subscriber too; else only at the line, where
	// the broker's own loss on a SIGKILL does not count.
	AtSubscriber bool
	Out          io.Writer
}

// rig is what an end-to-end run is made of, while it runs.
type rig struct {
	agent    *Agent
	broker   *Broker
	link     *Link
	recorder *Recorder
	sub      *Subscriber
	load     *Load
	ledger   *Ledger // what the line's record is held against
	atSub    *Ledger // the same for the subscriber
	between  time.Duration

	loaded chan struct{} // closed when the load has ended
	failed error         // how; to be read after loaded
}

// allFaults is the first run: SIGKILL makes mosquitto itself lose what it has
// acknowledged, so loss is judged at the line.
func allFaults(binary, dir string, out io.Writer) *E2E {
	return &E2E{Binary: binary, Dir: dir, Clients: 8, Rate: 500, Out: out,
		Faults: []fault{brokerTerm, agentKill, brokerKill, agentKill, linkFreeze, agentKill,
			brokerTerm, agentKill, brokerKill, agentKill, brokerTerm}}
}

// softFaults is the second run: nothing loses what it has stored, so every event
// must come out at the subscriber, in messages of up to 100.
func softFaults(binary, dir string, out io.Writer) *E2E {
	return &E2E{Binary: binary, Dir: dir, Clients: 8, Rate: 500, Batch: 100, AtSubscriber: true, Out: out,
		Faults: []fault{brokerTerm, agentTerm, brokerTerm, agentTerm, brokerTerm}}
}

// Run runs it. The error says what was lost, or what did not work.
func (e *E2E) Run(ctx context.Context) error {
	r, err := e.build(ctx)
	if r != nil {
		defer r.close()
	}
	if err != nil {
		return err
	}
	began := time.Now()
	stop := make(chan struct{})
	go func() {
		defer close(r.loaded)
		r.failed = r.load.Run(ctx, stop)
	}()
	strikes, err := e.strike(ctx, r)
	close(stop)
	<-r.loaded
	took := time.Since(began)
	if err = errors.Join(err, r.failed); err != nil {
		report(e.Out, "the faults so far:", strikes)
		return fmt.Errorf("%w\nthe agent's last words:\n%s", err, r.agent.Tail())
	}
	if err := e.drain(ctx, r); err != nil {
		return err
	}
	return e.judge(ctx, r, strikes, took)
}

func (e *E2E) build(ctx context.Context) (*rig, error) {
	r := &rig{ledger: newLedger(), atSub: newLedger(), between: 2 * time.Second, loaded: make(chan struct{})}
	var err error
	if r.broker, err = startBroker(ctx, filepath.Join(e.Dir, "broker"), "", nil); err != nil {
		return r, err
	}
	if r.sub, err = startSubscriber(e.Dir, r.broker.Addr); err != nil {
		return r, err
	}
	if r.recorder, err = newRecorder(filepath.Join(e.Dir, "line.ndjson"), r.ledger.Received); err != nil {
		return r, err
	}
	if r.link, err = newLink(r.broker.Addr, r.recorder); err != nil {
		return r, err
	}
	r.agent, err = newAgent(AgentOptions{Binary: e.Binary, Dir: filepath.Join(e.Dir, "agent"), Broker: r.link.Addr, Batch: e.Batch})
	if err != nil {
		return r, err
	}
	r.load = &Load{Agent: r.agent, Ledgers: []*Ledger{r.ledger, r.atSub}, Clients: e.Clients, Rate: e.Rate}
	return r, r.agent.StartReady(ctx)
}

// close takes the rig apart, whatever of it was built.
func (r *rig) close() {
	if r.agent != nil && r.agent.Proc != nil {
		_ = r.agent.Kill()
		r.agent.http.CloseIdleConnections()
	}
	if r.link != nil {
		r.link.Close()
	}
	if r.recorder != nil {
		_ = r.recorder.Close()
	}
	if r.sub != nil {
		_ = r.sub.Close()
	}
	if r.broker != nil && r.broker.Proc != nil {
		_ = r.broker.Kill()
	}
}

// broken tells early that the load has failed.
func (r *rig) broken() error {
	select {
	case <-r.loaded:
		return fmt.Errorf("the load ended early: %w", r.failed)
	default:
		return nil
	}
}

func (e *E2E) strike(ctx context.Context, r *rig) ([]strike, error) {
	if err := r.flowing(ctx, r.between); err != nil {
		return nil, err
	}
	var strikes []strike
	for _, f := range e.Faults {
		s, err := r.strikeOnce(ctx, f)
		if err != nil {
			return strikes, err
		}
		strikes = append(strikes, s)
	}
	return strikes, nil
}

// drain waits until all that was acknowledged is delivered, then stops the agent
// as systemd would, and waits for its last words at the subscriber.
func (e *E2E) drain(ctx context.Context, r *rig) error {
	wait, cancel := context.WithTimeoutCause(ctx, 90*time.Second, errors.New("the backlog was not drained in 90 s"))
	defer cancel()
	delivered := func() (bool, error) {
		if err := errors.Join(r.sub.Read(r.atSub.Received), r.recorder.Flush()); err != nil {
			return false, err
		}
		return r.ledger.Open() == 0 && (!e.AtSubscriber || r.atSub.Open() == 0), nil
	}
	if err := poll(wait, 50*time.Millisecond, delivered); err != nil {
		return fmt.Errorf("drain: %w\n  at the line: %v\n  at the subscriber: %v\nthe agent's last words:\n%s",
			err, r.ledger.Tally(), r.atSub.Tally(), r.agent.Tail())
	}
	if err := r.agent.Term(20 * time.Second); err != nil {
		return err
	}
	// Whatever the line has on record, the subscriber of a broker that only got
	// SIGTERM gets too.
	settled, last := 0, -1
	return poll(wait, 100*time.Millisecond, func() (bool, error) {
		if err := r.sub.Read(r.atSub.Received); err != nil {
			return false, err
		}
		if n := r.atSub.Receptions(); n != last {
			last, settled = n, 0
		}
		settled++
		return settled > 5, nil
	})
}

// judge closes the ledgers and lets `fieldpost verify` close its own.
func (e *E2E) judge(ctx context.Context, r *rig, strikes []strike, took time.Duration) error {
	if err := r.recorder.Flush(); err != nil {
		return err
	}
	line, sub := r.ledger.Tally(), r.atSub.Tally()
	lines := []string{
		fmt.Sprintf("at the line:       %v", line),
		fmt.Sprintf("at the subscriber: %v", sub),
		fmt.Sprintf("%d clients: %.0f events a second over %v, %d requests broke off, %d were sent again",
			e.Clients, float64(line.Acknowledged)/took.Seconds(), took.Round(time.Second), r.load.Cut(), r.load.repeats.Load()),
	}
	err := line.Broken()
	files := []string{r.recorder.Path}
	if e.AtSubscriber {
		err = errors.Join(err, sub.Broken())
		files = append(files, r.sub.Path)
	}
	for _, f := range files {
		said, verr := r.agent.Verify(ctx, f)
		lines = append(lines, fmt.Sprintf("fieldpost verify %s:\n%s", filepath.Base(f), indent(said)))
		err = errors.Join(err, verr)
	}
	title := "one message an event, loss judged at the line:"
	if e.AtSubscriber {
		title = fmt.Sprintf("messages of up to %d events, loss judged at the subscriber:", e.Batch)
	}
	report(e.Out, title, strikes, lines...)
	return err
}
