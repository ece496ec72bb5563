package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// The history that thinning is proven on: five sensors, each every 10 s, with so
// many bytes for the samples of 60 days that most of them must be summed up, and
// most of the minutes too.
const (
	thinDays   = 60
	thinRing   = 64_000_000 // bytes
	thinEvery  = 10 * time.Second
	thinBoots  = 7 // starts in a history, spread over it
	thinDay    = 24 * int(time.Hour/thinEvery)
	thinHour   = int(time.Hour / thinEvery)
	thinSender = 8000 // samples of one flush
)

var thinSensors = []string{"air", "soil", "water", "roof", "cellar"}

// thinQuantities are what one sample tells: its value, and fields beside it.
var thinQuantities = []string{"value", "humidity", "pressure", "battery"}

// extremes are the truth of an hour of one quantity, and what was read of it.
type extremes struct {
	n             int
	min, max, sum float64
}

func (e *extremes) add(n int, lo, hi, mean float64) {
	if e.n == 0 {
		e.min, e.max = lo, hi
	}
	e.n += n
	e.min, e.max, e.sum = min(e.min, lo), max(e.max, hi), e.sum+mean*float64(n)
}

// hourly has the extremes of each hour, by sensor and quantity.
type hourly [][]([]extremes)

func newHourly(days int) hourly {
	h := make(hourly, len(thinSensors))
	for s := range h {
		h[s] = make([][]extremes, len(thinQuantities))
		for q := range h[s] {
			h[s][q] = make([]extremes, days*24)
		}
	}
	return h
}

// virtualBoard is a board whose time the proof moves. Its wall clock is right.
type virtualBoard struct {
	boot  string
	start time.Time    // when it booted
	now   atomic.Int64 // nanoseconds since start
}

func (v *virtualBoard) set(now time.Time) { v.now.Store(int64(now.Sub(v.start))) }

func (v *virtualBoard) board() edge.Board {
	return edge.Board{
		BootID: v.boot, Serial: "prove", Model: "virtual",
		Mono:     v.now.Load,
		Wall:     func() time.Time { return v.start.Add(time.Duration(v.now.Load())) },
		Adjtimex: func() (bool, time.Duration, error) { return true, time.Millisecond, nil },
		Steps:    func(context.Context) <-chan struct{} { return nil },
	}
}

// thinHistory is one history under way.
type thinHistory struct {
	days  int
	dir   string
	ring  int64
	rng   *rand.Rand
	begin time.Time
	board *virtualBoard
	truth hourly

	store   *queue.Store
	clock   *edge.Clock
	pump    *edge.Pump
	thinner *edge.Thinner
	stop    func() error
}

// runThin stores a history of so many days, and reads what is left of it.
func runThin(ctx context.Context, p *proof, days int) ([]result, error) {
	dir, err := p.folder("thin")
	if err != nil {
		return nil, err
	}
	h := &thinHistory{
		days: days, dir: dir, ring: int64(thinRing) * int64(days) / thinDays, rng: p.rand("thin"),
		begin: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), truth: newHourly(days),
	}
	r := result{fault: fmt.Sprintf("%d days offline, samples of %d MB", days, h.ring/1_000_000), runs: days}
	if err := h.live(ctx, &r); err != nil {
		return nil, err
	}
	got, err := h.read(p, &r)
	if err != nil {
		return nil, err
	}
	got.compare(h, &r)
	return []result{r}, h.stop()
}

// live stores the history, sample by sample, with a restart now and then.
func (h *thinHistory) live(ctx context.Context, r *result) error {
	var b queue.Batch
	last := h.days*thinDay - 1
	for i := range last + 1 {
		if i%(last/thinBoots+1) == 0 {
			if err := h.reboot(ctx, i); err != nil {
				return err
			}
		}
		h.board.set(h.begin.Add(time.Duration(i) * thinEvery))
		for s, name := range thinSensors {
			ev := edge.Event{Name: name, Kind: edge.Sample, From: "device:" + name, Data: h.sample(s, i)}
			data, err := edge.AppendPayload(nil, &ev)
			if err != nil {
				return err
			}
			b.Entries = append(b.Entries, queue.Entry{Ring: edge.RingSamples, Stamp: h.clock.Stamp(), Data: data})
		}
		if len(b.Entries) < thinSender && i < last && (i+1)%(last/thinBoots+1) != 0 {
			continue
		}
		if _, err := h.store.Append(b); err != nil {
			return err
		}
		r.acknowledged += len(b.Entries)
		b.Entries = b.Entries[:0]
		if err := h.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle does what would have been done hours ago, at the pace of the samples: the
// journal is in segments, and what the rings ask for is thinned.
func (h *thinHistory) settle(ctx context.Context) error {
	for range 100 {
		if err := h.store.Move(); err != nil {
			return err
		}
		if err := h.thinner.Work(ctx); err != nil {
			return err
		}
		wishes := h.store.Wishes()
		if !slices.ContainsFunc(wishes, func(w queue.Wish) bool { return w.Urgent }) {
			return nil
		}
	}
	return fmt.Errorf("rings ask for ever to be thinned: %+v", h.store.Wishes())
}

// sample makes the data of a sensor's sample, and notes the truth: a day's wave, a
// drift, and noise that puts the extremes of an hour anywhere in it.
func (h *thinHistory) sample(sensor, i int) []byte {
	data := []byte{'{'}
	for q, name := range thinQuantities {
		v := 20*float64(sensor+q+1) + 8*math.Sin(float64(i)*2*math.Pi/float64(thinDay)) + float64(i)/1e5 + h.rng.NormFloat64()
		h.truth[sensor][q][i/thinHour].add(1, v, v, v)
		data = strconv.AppendFloat(append(append(append(data, '"'), name...), `":`...), v, 'g', -1, 64)
		data = append(data, ',')
	}
	return append(data, `"unit":"C"}`...)
}

// reboot stops what runs and starts it again, in the next boot.
func (h *thinHistory) reboot(ctx context.Context, i int) error {
	if h.stop != nil {
		if err := h.stop(); err != nil {
			return err
		}
	}
	now := h.begin.Add(time.Duration(i)*thinEvery - time.Second)
	h.board = &virtualBoard{boot: fmt.Sprint("boot-", i), start: now.Add(-time.Minute)}
	h.board.set(now)
	thin := func(size int64) queue.Limits { return queue.Limits{Size: size, Thin: true} }
	minutes, hours := edge.ThinRings(edge.RingSamples)
	board := h.board.board()
	store, err := queue.Open(queue.Options{
		Dir: h.dir, Boot: board.BootID, Serial: board.Serial, Headroom: -1, Codec: edge.BlockCodec{},
		Rings: map[string]queue.Limits{edge.RingSamples: thin(h.ring), minutes: thin(h.ring / 4), hours: {Size: h.ring / 4}},
	})
	if err != nil {
		return err
	}
	h.store, h.clock = store, edge.NewClock(board)
	if err := h.clock.Attach(store); err != nil {
		return err
	}
	h.pump = edge.NewPump(edge.PumpOptions{Agent: "prove", Store: store, Clock: h.clock})
	h.thinner = edge.NewThinner(edge.ThinnerOptions{Store: store, Pump: h.pump, Clock: h.clock})
	running, cancel := context.WithCancel(ctx)
	var done = make(chan error, 2)
	go func() { done <- h.pump.Run(running) }()
	go func() { done <- h.clock.Run(running, h.pump) }()
	h.stop = func() error {
		if err := h.pump.Commit(running); err != nil { // the clock has told of this boot
			return err
		}
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				return err
			}
		}
		return store.Close()
	}
	return nil
}
