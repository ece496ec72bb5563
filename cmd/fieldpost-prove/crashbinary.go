package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// crashAgent is the real binary on the mounts of one image.
type crashAgent struct {
	*Agent
}

func newCrashAgent(binary, dir string, image *crashImage) (*crashAgent, error) {
	a, err := newAgent(AgentOptions{Binary: binary, Dir: filepath.Join(dir, "agent"), DataDir: filepath.Join(image.Path, "data")})
	if err != nil {
		return nil, err
	}
	return &crashAgent{a}, nil
}

// check starts the binary on a mounted state as a board does after a power cut,
// stores an event, reads every ring over HTTP and compares, and kills it.
func (a *crashAgent) check(ctx context.Context, must *crashMust) (*crashVerdict, error) {
	v := &crashVerdict{}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	began := time.Now()
	if err := a.Start(); err != nil {
		return nil, err
	}
	defer a.http.CloseIdleConnections()
	id := crashID{Ring: edge.RingEvents, C: crashNew}
	got, err := a.postFirst(ctx, id)
	v.start = time.Since(began)
	if err != nil {
		v.failed("nothing can be stored: %v", err)
	} else {
		must.add(crashNote{What: noteTry, IDs: []crashID{id}})
		v.broken = append(v.broken, must.add(crashNote{What: noteAck, IDs: []crashID{got}})...)
		var rows map[uint64]crashID
		for _, ring := range slices.Backward(crashRings()) {
			log := &ringRead{ring: ring, seqs: map[uint64]crashID{}, rows: rows}
			if err := a.readRing(ctx, v, log, must); err != nil {
				v.failed("read ring %s: %v", ring, err)
			}
			if ring == crashRows() {
				rows = log.seqs
			}
		}
	}
	return v, a.Kill()
}

// postFirst posts an event from the first instant on until it is acknowledged.
func (a *crashAgent) postFirst(ctx context.Context, id crashID) (crashID, error) {
	ev := crashEvent(id)
	body := fmt.Appendf(nil, `{"ring":%q,"name":%q,"kind":%q,"data":%s}`, ev.Ring, ev.Name, ev.Kind, ev.Data)
	for {
		got, err := a.post(ctx, "", body)
		if err == nil {
			stored, err := storedID(got)
			stored.C = id.C
			return stored, err
		}
		if !errors.Is(err, errAgain) {
			return crashID{}, err
		}
		select {
		case <-ctx.Done():
			return crashID{}, fmt.Errorf("%w\n%s", err, a.Tail())
		case <-a.Done():
			return crashID{}, fmt.Errorf("the agent ended: %w\n%s", err, a.Tail())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// storedID is the one event of an answer.
func storedID(got []numbered) (crashID, error) {
	if len(got) != 1 {
		return crashID{}, fmt.Errorf("%d events were answered for one", len(got))
	}
	epoch, _, _ := strings.Cut(got[0].ID, "-")
	id := crashID{Ring: got[0].Ring, N: got[0].N, Seq: got[0].Seq}
	if _, err := fmt.Sscanf(epoch, "%x", &id.Epoch); err != nil {
		return crashID{}, fmt.Errorf("read id %q: %w", got[0].ID, err)
	}
	return id, nil
}

// readRing reads a ring over HTTP and compares.
func (a *crashAgent) readRing(ctx context.Context, v *crashVerdict, log *ringRead, must *crashMust) error {
	ring := log.ring
	for after := uint64(0); ; {
		var page struct{ Events []edge.Event }
		if err := a.get(ctx, fmt.Sprintf("/v1/events?ring=%s&after=%d&limit=1000", url.QueryEscape(ring), after), &page); err != nil {
			return err
		}
		if len(page.Events) == 0 {
			break
		}
		for _, ev := range page.Events {
			id := crashID{Ring: ring, Epoch: ev.Epoch, N: ev.N, Seq: ev.Seq}
			switch {
			case ev.Hole != nil:
				rows := queue.Rows{Ring: ev.Hole.Thinned.Ring, From: ev.Hole.Thinned.From, To: ev.Hole.Thinned.To}
				log.hole(v, queue.Hole{From: ev.Hole.From, To: ev.Hole.To, Cause: queue.Cause(ev.Hole.Cause), Rows: rows})
			case strings.HasPrefix(ev.Name, "prove/"):
				var ok bool
				id.C, ok = crashSame(ring, ev)
				log.record(v, id, ok)
			default: // the agent's own
				log.other(v, id, must)
			}
		}
		if log.next <= after {
			return fmt.Errorf("it does not go on after %d", after)
		}
		after = log.next
	}
	log.compare(v, must)
	return nil
}
