package gpio

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"fieldpost/edge"
)

// beginsWithin is the longest that a device of a twin waits before it begins: devices that
// would do something at the same instant do it one after the other.
const beginsWithin = 10 * time.Millisecond

// Twin is what is simulated of the world around a Source: the board, sensors that
// its drivers read, and what was recorded of devices. All that is random in it comes
// from one seed. The nil Twin simulates nothing.
type Twin struct {
	opt    TwinOptions
	dir    string            // of the simulated sysfs; "" before the first sensor
	traces map[string]*Trace // by device
}

// TwinOptions say what is simulated.
type TwinOptions struct {
	Board  *SimBoard // the lines, for what is replayed; needed for that alone
	Seed   uint64    // 0: as any other
	Sensor SimSensor // how the simulated sensors behave
	Mono   func() int64
	Alone  bool // no device reaches the network either
}

// NewTwin makes a twin. Close it.
func NewTwin(opt TwinOptions) *Twin { return &Twin{opt: opt, traces: map[string]*Trace{}} }

// Close takes away the simulated sysfs.
func (t *Twin) Close() error {
	if t == nil || t.dir == "" {
		return nil
	}
	return os.RemoveAll(t.dir)
}

// Replay makes a device do what was recorded of it: its lines are the recorded ones,
// and a sensor says what it said then. Call it before NewSource; the edges are then
// given by Feed. The stored state of the trace is the caller's to put into the store.
// A trace with a hole is refused, and one whose device lost its lines meanwhile.
func (t *Twin) Replay(tr *Trace) error {
	if tr.Lost > 0 {
		return fmt.Errorf("replay %s: the recorder lost %d steps: it is not what happened", tr.Head.Device, tr.Lost)
	}
	if t.traces[tr.Head.Device] != nil {
		return fmt.Errorf("replay %s: there are two traces of it", tr.Head.Device)
	}
	if err := tr.held(); err != nil {
		return fmt.Errorf("replay %s: %w", tr.Head.Device, err)
	}
	for _, l := range tr.Head.Lines {
		if err := t.opt.Board.Script(l.Pin, SimScript{Request: l.Request, Level: l.Level}); err != nil {
			return fmt.Errorf("replay %s: %w", tr.Head.Device, err)
		}
	}
	t.traces[tr.Head.Device] = tr
	return nil
}

// held refuses edges of a line that the device did not hold when the recording began. A
// sensor is replayed by its readings.
func (tr *Trace) held() error {
	requests := map[edge.Pin]string{}
	for _, l := range tr.Head.Lines {
		requests[l.Pin] = l.Request
	}
	for i := range tr.Steps {
		if tr.Steps[i].Reading != nil {
			return nil
		}
	}
	for i := range tr.Steps {
		if e := tr.Steps[i].Edge; e != nil && requests[e.Pin] != e.Request {
			return fmt.Errorf("edge %d of %s is of request %q, the recording began with %q: the device failed meanwhile, or had not begun", e.LineSeqno, e.Pin, e.Request, requests[e.Pin])
		}
	}
	return nil
}

// Row is the stored state that a trace begins with, as a row of the store; ok is false
// where it has none.
func (tr *Trace) Row() (table, key string, value []byte, ok bool) {
	return stateTable, tr.Head.Driver + "/" + tr.Head.Device, tr.Head.State, len(tr.Head.State) > 0
}

// Feed gives a step of a trace to the twin's board. Readings feed themselves.
func (t *Twin) Feed(s TraceStep) error {
	if s.Edge == nil {
		return nil
	}
	e := s.Edge
	return t.opt.Board.Replay(e.Pin, Edge{Rising: e.Rising, Mono: e.Mono, Seqno: e.Seqno, LineSeqno: e.LineSeqno, ByAgent: e.ByAgent})
}

// device makes a device: the driver's own, with what the twin has for it.
func (t *Twin) device(spec Spec, env Env, d Driver) (Device, error) {
	if t == nil {
		return d.New(env, spec.Options)
	}
	tr := t.traces[spec.Name]
	if tr == nil {
		if err := t.equip(spec, &env); err != nil {
			return nil, err
		}
	}
	env.Chance = Stream(t.opt.Seed, "device "+spec.Name)
	dev, err := d.New(env, spec.Options)
	if err != nil || tr == nil {
		return dev, err
	}
	if tr.Head.Driver != spec.Driver {
		return nil, fmt.Errorf("the trace is of a %s, the config has a %s", tr.Head.Driver, spec.Driver)
	}
	if o, ok := spec.Options.(interface{ sampled() Sampling }); ok {
		return &replayed{env: env, trace: tr, sampling: o.sampled()}, nil
	}
	return dev, nil
}

// begin waits until a device is to begin, and gives what its retries are spread with.
func (t *Twin) begin(ctx context.Context, r *runner) (chance func(time.Duration) time.Duration) {
	if t == nil {
		return rand.N[time.Duration]
	}
	rnd := Stream(t.opt.Seed, "runner "+r.spec.Name)
	wait := time.Duration(rnd.Int64N(int64(beginsWithin)))
	tr := t.traces[r.spec.Name]
	if c, ok := r.dev.(*counter); ok && tr != nil {
		// Its ticks are where those of the recorded run were.
		every := int64(c.cfg.Every)
		if now := r.out.clock.Stamp().Mono; every > 0 && now < tr.Head.Mono {
			wait = time.Duration(((tr.Head.Began-now)%every + every) % every)
		}
	}
	pause(ctx, wait)
	return func(most time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(max(most, 1)))) }
}

// replayed is a sensor that says what it said when it was recorded.
type replayed struct {
	env      Env
	trace    *Trace
	sampling Sampling
	next     int // the step that comes next
}

// Pins are the lines that it held.
func (d *replayed) Pins() (pins []edge.Pin) {
	for _, l := range d.trace.Head.Lines {
		pins = append(pins, l.Pin)
	}
	return pins
}

// Run says what was said, at the times of then. A reading that failed ended a run of
// the device, whose next one began with nothing told.
func (d *replayed) Run(ctx context.Context, out *Outlet) error {
	s := sampler{Sampling: d.sampling, unit: d.trace.Head.Unit}
	if h := &d.trace.Head; h.ToldAt != 0 && d.next == 0 {
		s.told, s.bad, s.lastAt = true, h.Told == nil, time.Now().Add(-time.Duration(d.env.Clock.Stamp().Mono-h.ToldAt))
		if h.Told != nil {
			s.last = *h.Told
		}
	}
	for {
		r, err := d.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			out.Doubt(err)
			s = sampler{Sampling: d.sampling, unit: d.trace.Head.Unit}
		default:
			out.Ready()
			s.judge(r, out)
		}
	}
}

// read waits for the time of the next reading. After the last one nothing is said.
func (d *replayed) read(ctx context.Context) (reading, error) {
	for ; d.next < len(d.trace.Steps); d.next++ {
		r := d.trace.Steps[d.next].Reading
		if r == nil {
			continue
		}
		pause(ctx, time.Duration(r.Mono-d.env.Clock.Stamp().Mono))
		d.next++
		return r.reading()
	}
	<-ctx.Done()
	return reading{}, ctx.Err()
}
