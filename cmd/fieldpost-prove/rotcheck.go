package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// rotFound is what came of one state.
type rotFound struct {
	State  int           `json:"state"`
	Start  time.Duration `json:"start"` // until the first event was acknowledged
	Lost   uint64        `json:"lost"`  // records that nothing tells of
	Told   uint64        `json:"told"`  // records in holes with the cause damage
	Tail   uint64        `json:"tail"`  // records above the highest survivor: a new epoch tells of them
	Rows   int           `json:"rows"`  // rows that are gone or older
	Broken []string      `json:"broken,omitempty"`
}

func (f *rotFound) failed(format string, args ...any) {
	if len(f.Broken) < 5 {
		f.Broken = append(f.Broken, fmt.Sprintf(format, args...))
	}
}

// rotView is what a reader of a whole ring sees.
type rotView struct {
	have          []bool // by seq: it was read
	damaged, gone rotSet
}

func (v *rotView) has(seq uint64) bool { return seq < uint64(len(v.have)) && v.have[seq] }

func (v *rotView) add(seq uint64) {
	for uint64(len(v.have)) <= seq {
		v.have = append(v.have, make([]bool, 1024)...)
	}
	v.have[seq] = true
}

// rotRun is the check of one state.
type rotRun struct {
	facts *rotFacts
	state rotState
	dir   string
	out   *rotFound
	may   rotSet // what may be lost

	store  *queue.Store
	log    *edge.Log
	pump   *edge.Pump
	stop   func() error
	epochs []queue.Epoch
	added  map[string]string // what was appended afterwards, by epoch, ring and seq
}

// checkState makes a copy of the store in dir, damages it, and holds what can be
// read against what was acknowledged.
func (f *rotFacts) checkState(ctx context.Context, s rotState, dir string) (*rotFound, error) {
	r := &rotRun{facts: f, state: s, dir: dir, out: &rotFound{State: s.number}, may: f.explains(s), added: map[string]string{}}
	if err := errors.Join(f.copyTo(dir, s), s.strike(dir)); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := r.begin(ctx); err != nil {
		r.out.failed("%v", err)
		return r.out, nil
	}
	if err := r.first(ctx); err != nil {
		r.out.failed("%v", err)
	}
	return r.out, nil
}

// first checks the first opening, while what is damaged is salvaged and after it,
// and then a second one.
func (r *rotRun) first(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(r.state.seed, 2))
	resumed, err := r.resume(rng)
	if err != nil {
		return errors.Join(err, r.stop())
	}
	before, err := r.readRings()
	if err != nil {
		return errors.Join(err, r.stop())
	}
	if err := errors.Join(r.append(ctx, "meanwhile"), r.settled(ctx)); err != nil {
		return errors.Join(err, r.stop())
	}
	after, err := r.readRings()
	if err != nil {
		return errors.Join(err, r.stop())
	}
	r.judge(before, after)
	r.judgeResumed(resumed, after)
	r.judgePositions()
	// A stop may fail to move the journal into a damaged segment: then the next
	// start does. A file that bbolt gave up on stays locked until its process ends,
	// so that a restart in this one takes a copy.
	_ = r.stop()
	next := r.dir + "-again"
	defer os.RemoveAll(next)
	if err := copyFolder(r.dir, next); err != nil {
		return err
	}
	r.dir = next
	if err := r.begin(ctx); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	if err := errors.Join(r.append(ctx, "again"), r.settled(ctx)); err != nil {
		return errors.Join(err, r.stop())
	}
	again, err := r.readRings()
	if err != nil {
		return errors.Join(err, r.stop())
	}
	r.kept("after opening again", after, again)
	r.readMerged(again)
	return r.stop()
}

// begin opens the store as the agent does, and has one event acknowledged.
func (r *rotRun) begin(ctx context.Context) error {
	began := time.Now()
	s, err := queue.Open(r.facts.Size.options(r.dir, r.state.boot))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	clock := edge.NewClock(rotBoard(r.state.boot))
	if err := clock.Attach(s); err != nil {
		return errors.Join(fmt.Errorf("attach clock: %w", err), s.Close())
	}
	pump := edge.NewPump(edge.PumpOptions{Agent: "rot", Store: s, Clock: clock})
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pump.Run(running) }()
	r.store, r.pump, r.log = s, pump, edge.NewLog(s, clock, "rot")
	r.stop = func() error {
		cancel()
		return errors.Join(<-ended, s.Close())
	}
	r.epochs = s.Epochs()
	if err := r.append(ctx, "first"); err != nil {
		return errors.Join(fmt.Errorf("first append: %w", err), r.stop())
	}
	if r.out.Start == 0 {
		r.out.Start = time.Since(began)
	}
	return nil
}

// append adds an event to each ring, and notes what they are.
func (r *rotRun) append(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, ring := range rotRings {
		data := fmt.Sprintf(`{"what":"%s","state":%d}`, what, r.state.number)
		evs, err := r.pump.Post(ctx, []edge.Event{{Kind: edge.Message, Name: "rot/after", From: "client:rot", Ring: ring.name, Data: []byte(data)}}, edge.Idempotency{})
		if err != nil {
			return err
		}
		id := fmt.Sprintf("%08x %s %d", evs[0].Epoch, ring.name, evs[0].Seq)
		if old, twice := r.added[id]; twice {
			r.out.failed("%s is both %s and %s", id, old, data)
		}
		if slices.Contains(r.facts.Epochs, evs[0].Epoch) && evs[0].Seq <= r.facts.Rings[ring.name].Last {
			r.out.failed("%s was given again: it is a record from before the damage", id)
		}
		r.added[id] = data
	}
	return nil
}

// settled waits for the salvages to end.
func (r *rotRun) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("a salvage did not end in 30 s"))
	defer cancel()
	return poll(ctx, time.Millisecond, func() (bool, error) { return r.store.Health().Salvaging == 0, nil })
}

// readRings reads every ring to its end, and checks each record.
func (r *rotRun) readRings() (map[string]*rotView, error) {
	out := map[string]*rotView{}
	for _, ring := range rotRings {
		v := &rotView{have: make([]bool, r.facts.Rings[ring.name].Last+1000)}
		out[ring.name] = v
		for _, part := range r.facts.parts(ring.name, r.may, r.state.seed) {
			if err := r.readPart(ring.name, part, v); err != nil {
				return nil, fmt.Errorf("read ring %s: %w", ring.name, err)
			}
		}
	}
	return out, nil
}

// readPart reads the seqs of a part; records and holes must follow one another.
func (r *rotRun) readPart(ring string, part queue.Range, v *rotView) error {
	next := part.From
	for after := part.From - 1; after < part.To; {
		evs, at, end, err := r.log.Ring(ring, after, queue.Max{})
		if err != nil {
			return err
		}
		for i := range evs {
			e := &evs[i]
			if e.Hole != nil {
				if e.Hole.From != next || e.Hole.To < e.Hole.From {
					r.out.failed("ring %s: hole %d..%d at %d", ring, e.Hole.From, e.Hole.To, next)
				}
				set := rotRange{ring, max(e.Hole.From, next), e.Hole.To}
				if e.Hole.Cause == string(queue.Damage) {
					v.damaged = append(v.damaged, set)
				} else {
					v.gone = append(v.gone, set)
				}
				next = e.Hole.To + 1
				continue
			}
			if e.Seq != next {
				r.out.failed("ring %s: seq %d after %d", ring, e.Seq, next-1)
			}
			next = e.Seq + 1
			v.add(e.Seq)
			r.same(e)
		}
		if end {
			break
		}
		if at <= after {
			return fmt.Errorf("no progress after %d", after)
		}
		after = at
	}
	return nil
}

// same checks a record against what it was when it was acknowledged.
func (r *rotRun) same(e *edge.Event) {
	ring := r.facts.Rings[e.Ring]
	old := slices.Index(r.facts.Epochs, e.Epoch)
	if old < 0 || e.Seq > ring.Last {
		id := fmt.Sprintf("%08x %s %d", e.Epoch, e.Ring, e.Seq)
		if want, ok := r.added[id]; !ok || want != string(e.Data) {
			r.out.failed("%s reads as %.80s, and is %.80s", id, e.Data, want)
		}
		return
	}
	if want := rotText(e.Ring, e.Seq); !bytes.Equal(e.Data, want) || e.Name != rotName(e.Seq) || e.From != "client:rot" {
		r.out.failed("ring %s, seq %d reads as %s %.120s", e.Ring, e.Seq, e.Name, e.Data)
	}
	if e.Seq < ring.Epoch[old] || old+1 < len(ring.Epoch) && e.Seq >= ring.Epoch[old+1] {
		r.out.failed("ring %s, seq %d is of epoch %08x", e.Ring, e.Seq, e.Epoch)
	}
}

// resume reads all rings from a few positions before anything else was read: what
// comes first must be what follows the position.
func (r *rotRun) resume(rng *rand.Rand) (map[uint64]queue.Page, error) {
	out := map[uint64]queue.Page{}
	for range 4 {
		after := rng.Uint64N(r.facts.LastN)
		page, err := r.store.ReadAll(r.facts.names(), after, queue.Max{Records: 5})
		if err != nil {
			return nil, fmt.Errorf("read all after %d: %w", after, err)
		}
		out[after] = page
	}
	return out, nil
}

func (f *rotFacts) names() []string { return slices.Sorted(maps.Keys(f.Rings)) }
