package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fieldpost/edge"
)

// byWithheld cuts the line behind an uplink that has sent and was not answered,
// kills the agent once the next flush could have taken its cursor along, and looks
// whether all arrives in the end. The build as it is must pass.
func byWithheld(ctx context.Context, p *proof, b *mutantBuild) (bool, error) {
	missing, err := withheld(ctx, p.binary, filepath.Join(b.dir, "control"))
	if err != nil {
		return false, fmt.Errorf("the build as it is: %w", err)
	}
	if missing > 0 {
		return false, fmt.Errorf("the build as it is: %d events did not arrive", missing)
	}
	missing, err = withheld(ctx, b.fieldpost, filepath.Join(b.dir, "withheld"))
	return missing > 0, err
}

// withheldRig is an agent behind a line to a broker, on which all that was
// acknowledged is on record.
type withheldRig struct {
	broker   *Broker
	recorder *Recorder
	link     *Link
	agent    *Agent
	arrived  *arrivals
}

func newWithheldRig(ctx context.Context, binary, dir string) (r *withheldRig, err error) {
	r = &withheldRig{arrived: newArrivals()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.broker, err = startBroker(ctx, filepath.Join(dir, "broker"), "", nil); err != nil {
		return r, err
	}
	if r.recorder, err = newRecorder(filepath.Join(dir, "record"), r.arrived.take); err != nil {
		return r, err
	}
	if r.link, err = newLink(r.broker.Addr, r.recorder); err != nil {
		return r, err
	}
	agent, err := newAgent(AgentOptions{Binary: binary, Dir: filepath.Join(dir, "agent"), Broker: r.link.Addr})
	if err != nil {
		return r, err
	}
	if err := agent.StartReady(ctx); err != nil {
		return r, err
	}
	r.agent = agent
	return r, nil
}

func (r *withheldRig) close() error {
	var errs []error
	if r.agent != nil {
		errs = append(errs, r.agent.Kill())
	}
	if r.link != nil {
		r.link.Close()
	}
	if r.recorder != nil {
		errs = append(errs, r.recorder.Close())
	}
	if r.broker != nil {
		errs = append(errs, r.broker.Kill())
	}
	return errors.Join(errs...)
}

// withheld gives how many of the events that it posted never came to the broker.
func withheld(ctx context.Context, binary, dir string) (missing int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := newWithheldRig(ctx, binary, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	const before, held = 5, 20
	if err := postMarks(ctx, r.agent, 0, before); err != nil {
		return 0, err
	}
	if err := r.arrived.wait(ctx, before-1); err != nil {
		return 0, err
	}
	r.link.Freeze()
	if err := postMarks(ctx, r.agent, before, held); err != nil {
		return 0, err
	}
	if err := r.agent.inFlight(ctx); err != nil {
		return 0, err
	}
	if err := postMarks(ctx, r.agent, before+held, 1); err != nil { // its flush takes what the cursor has along
		return 0, err
	}
	if err := r.agent.Kill(); err != nil {
		return 0, err
	}
	r.link.Down() // with what the line still held
	r.link.Thaw()
	r.link.Up()
	if err := r.agent.StartReady(ctx); err != nil {
		return 0, err
	}
	if err := postMarks(ctx, r.agent, before+held+1, 1); err != nil {
		return 0, err
	}
	all := before + held + 2
	if err := r.arrived.wait(ctx, all-1); err != nil { // a ring goes in order: what comes at all is before the last
		return 0, err
	}
	return all - r.arrived.count(), nil
}

// withheldMark is the name of the i-th event of withheld.
func withheldMark(i int) string { return fmt.Sprintf("withheld/%d", i) }

func postMarks(ctx context.Context, a *Agent, from, count int) error {
	var body strings.Builder
	for i := from; i < from+count; i++ {
		fmt.Fprintf(&body, "{\"name\":%q,\"data\":{}}\n", withheldMark(i))
	}
	_, err := a.post(ctx, "", []byte(body.String()))
	return err
}

// inFlight waits until the agent's uplink has sent what is not acknowledged.
func (a *Agent) inFlight(ctx context.Context) error {
	wait, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("the uplink sent nothing"))
	defer cancel()
	return poll(wait, 10*time.Millisecond, func() (bool, error) {
		var status struct{ Uplinks []edge.UplinkStatus }
		if err := a.get(wait, "/v1/status", &status); err != nil {
			return false, err
		}
		return len(status.Uplinks) == 1 && status.Uplinks[0].InFlight > 0, nil
	})
}

// arrivals are the marks that the broker acknowledged.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newArrivals() *arrivals { return &arrivals{seen: map[string]bool{}} }

func (a *arrivals) take(payload []byte) error {
	var ev edge.Event
	if err := json.Unmarshal(payload, &ev); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if strings.HasPrefix(ev.Name, "withheld/") {
		a.mu.Lock()
		a.seen[ev.Name] = true
		a.mu.Unlock()
	}
	return nil
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// wait waits for one mark.
func (a *arrivals) wait(ctx context.Context, i int) error {
	wait, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("%s did not arrive in 20 s", withheldMark(i)))
	defer cancel()
	return poll(wait, 10*time.Millisecond, func() (bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.seen[withheldMark(i)], nil
	})
}
