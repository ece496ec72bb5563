package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/edge/card"
	"fieldpost/queue"
)

// What a card is assumed to take, since none says it: a thousand rewrites of 32
// GB, of which the card's own housekeeping takes three of four.
const enduranceBytes = 8e12

// How the agent's store works, for what is worked out here: ext4 commits its log
// every 5 s, and what is little is moved to the segments each 10 minutes.
const (
	commitEvery = 5 * time.Second
	moveEvery   = 10 * time.Minute
	moveRecords = 10_000
)

// eventCost is what events cost in flash: bytes that the file system's device
// took, as the kernel counts them, less what others wrote at the same time.
type eventCost struct {
	Device string  `json:"device"`
	Flush  float64 `json:"flush"`  // an event in a flush of its own
	Move   float64 `json:"move"`   // moving what the journal has into the rings
	Commit float64 `json:"commit"` // of the file system's own log, after a write
	Bulk   float64 `json:"bulk"`   // an event among many

	Second *float64 `json:"one_a_second,omitempty"` // an event a second, measured without moves
	Others float64  `json:"others_per_second"`      // what others wrote meanwhile, bytes/s
	Noisy  bool     `json:"noisy"`                  // others wrote so much that the rest is rough

	Rates []rateCost `json:"rates"`
}

// rateCost is what events at a steady rate cost.
type rateCost struct {
	Every    float64 `json:"every_seconds"`
	PerEvent float64 `json:"bytes_per_event"`
	PerDay   float64 `json:"bytes_per_day"`
	Years    float64 `json:"years"` // until a card of 32 GB is worn out by it
}

// meter counts what a device takes.
type meter struct {
	device *card.Device
	dir    *os.File // for syncing its file system
	others float64  // bytes/s that others write
}

// spend counts what the device takes for a piece of work, until all of it is on
// the device.
func (m *meter) spend(work func() error) (float64, error) {
	before, err := m.device.Counters()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := work(); err != nil {
		return 0, err
	}
	if err := unix.Syncfs(int(m.dir.Fd())); err != nil {
		return 0, fmt.Errorf("sync file system: %w", err)
	}
	after, err := m.device.Counters()
	return max(0, float64(after.Written-before.Written)-m.others*time.Since(begun).Seconds()), err
}

// idle finds out what others write, so that it can be taken off.
func (m *meter) idle(ctx context.Context, span time.Duration) error {
	if err := unix.Syncfs(int(m.dir.Fd())); err != nil {
		return fmt.Errorf("sync file system: %w", err)
	}
	begun := time.Now()
	n, err := m.spend(func() error { return pause(ctx, span) })
	m.others = n / time.Since(begun).Seconds()
	return err
}

func pause(ctx context.Context, span time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(span):
		return nil
	}
}

// measureEvents runs a store of its own in dir and counts.
func measureEvents(ctx context.Context, dir string, place *card.Place, quick bool) (*eventCost, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	m := &meter{device: place.Device(), dir: d}
	w, err := newEventWriter(ctx, filepath.Join(dir, "store"))
	if err != nil {
		return nil, err
	}
	defer w.store.Close()
	c, err := w.measure(m, quick)
	if err != nil {
		return nil, err
	}
	c.Device, c.Others = m.device.Name, m.others
	c.work()
	return c, w.store.Close()
}

// eventWriter appends events such as sensors make to a store.
type eventWriter struct {
	ctx   context.Context
	store *queue.Store
	rand  *rand.Rand
	made  int
}

// storeHalf is small, so that the journal of a test is; a real one is 8 MB.
const storeHalf = 1 << 20

func newEventWriter(ctx context.Context, dir string) (*eventWriter, error) {
	board, err := edge.ThisBoard()
	if err != nil {
		return nil, err
	}
	store, err := queue.Open(queue.Options{
		Dir: dir, Boot: board.BootID, Serial: board.Serial, Headroom: -1, Codec: edge.BlockCodec{}, JournalBytes: storeHalf,
		MoveEvery: time.Hour, MoveRecords: 1 << 30, // only when asked, so that it can be counted
	})
	if err != nil {
		return nil, err
	}
	w := &eventWriter{ctx: ctx, store: store, rand: rand.New(rand.NewPCG(1, 2))}
	if err := w.settle(dir); err != nil {
		store.Close()
		return nil, err
	}
	return w, nil
}

// settle stores one event, so that all files are there, and waits until the
// journal is written ahead.
func (w *eventWriter) settle(dir string) error {
	if err := w.append(1); err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if err := pause(w.ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if n, err := diskUse(dir); err != nil || n >= 2*storeHalf {
			return err
		}
	}
	return nil // a disk so slow: then that is in the numbers
}

// diskUse is what all files of a folder take on the disk.
func diskUse(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // the store took it away meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !e.IsDir() {
			n += st.Blocks * 512
		}
		return nil
	})
	return n, err
}

// append stores so many events in one flush.
func (w *eventWriter) append(count int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	var b queue.Batch
	for range count {
		data, err := edge.AppendPayload(nil, w.event())
		if err != nil {
			return err
		}
		b.Entries = append(b.Entries, queue.Entry{Ring: edge.RingSamples, Data: data})
	}
	_, err := w.store.Append(b)
	return err
}

// event is a reading of some 200 bytes of JSON.
func (w *eventWriter) event() *edge.Event {
	i := w.made
	w.made++
	data, _ := json.Marshal(map[string]any{ // numbers and texts always encode
		"value": float64(w.rand.IntN(6000))/100 - 10, "unit": "C", "quality": "good", "sensor": "ads1115", "reading": 41_000 + i,
		"raw": []int{w.rand.IntN(4096), w.rand.IntN(4096), w.rand.IntN(4096)}, "battery": float64(300+w.rand.IntN(120)) / 100, "rssi": -40 - w.rand.IntN(60),
	})
	return &edge.Event{Name: fmt.Sprintf("selftest/sensor-%d", i%8), Kind: edge.Sample, From: "system:selftest", Data: data}
}

// alone stores so many events, each in a flush of its own.
func (w *eventWriter) alone(count int) error {
	for range count {
		if err := w.append(1); err != nil {
			return err
		}
	}
	return nil
}

// measure takes the costs apart: two runs of flushes that differ in their number
// alone, moves, and many events in a few flushes.
func (w *eventWriter) measure(m *meter, quick bool) (*eventCost, error) {
	idle, most, rounds, bulk, seconds := 3*time.Second, 200, 3, moveRecords, 15
	if quick {
		idle, most, rounds, bulk, seconds = time.Second, 60, 1, 2000, 0
	}
	c := &eventCost{}
	if err := w.store.Move(); err != nil {
		return nil, err
	}
	if err := m.idle(w.ctx, idle); err != nil {
		return nil, err
	}
	const few = 10
	var long, short, moves []float64 // of most and of few flushes, each with the log's commit
	for i := range 2 * rounds {
		count, into := few, &short
		if i%2 == 0 {
			count, into = most, &long
		}
		n, err := m.spend(func() error { return w.alone(count) })
		if err != nil {
			return nil, err
		}
		*into = append(*into, n)
		if n, err = m.spend(w.store.Move); err != nil {
			return nil, err
		}
		moves = append(moves, n)
	}
	c.Move = median(moves)
	c.Flush = max(0, median(long)-median(short)) / float64(most-few)
	c.Commit = max(0, median(short)-few*c.Flush)
	n, err := m.spend(func() error { return w.bulk(bulk) })
	if err != nil {
		return nil, err
	}
	c.Bulk = n / float64(bulk)
	if c.Noisy = m.others > c.Flush/2; seconds > 0 && !c.Noisy {
		err = w.trickle(m, c, seconds)
	}
	return c, err
}

// median is less moved by what others write in between than the mean.
func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// bulk stores events in flushes of 500, and moves them.
func (w *eventWriter) bulk(count int) error {
	for range count / 500 {
		if err := w.append(500); err != nil {
			return err
		}
	}
	return w.store.Move()
}

// trickle stores an event a second, since that is what the file system's own log
// makes dear.
func (w *eventWriter) trickle(m *meter, c *eventCost, seconds int) error {
	n, err := m.spend(func() error {
		for range seconds {
			if err := w.append(1); err != nil {
				return err
			}
			if err := pause(w.ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	})
	n /= float64(seconds)
	c.Second = &n
	return err
}

// work makes rates out of the parts. What is little waits for its move, so that
// the slower the rate, the more of a move falls to each event.
func (c *eventCost) work() {
	for _, every := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		moved := min(float64(moveRecords), float64(moveEvery)/float64(every))
		alone := c.Flush + c.Commit*min(1, float64(every)/float64(commitEvery))
		if every == time.Second && c.Second != nil {
			alone = *c.Second
		}
		r := rateCost{Every: every.Seconds(), PerEvent: alone + c.Move/moved}
		r.PerDay = r.PerEvent * float64(24*time.Hour) / float64(every)
		if r.PerDay > 0 {
			r.Years = enduranceBytes / r.PerDay / 365
		}
		c.Rates = append(c.Rates, r)
	}
}
