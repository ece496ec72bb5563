package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// The bounds of the workload's rings: alarms has a count, samples a size, and
// events none.
const (
	crashKeep    = 40
	crashSize    = 96 << 10
	crashCursor  = "cloud"
	crashMailbox = "panel"
)

// crashPosts are the rings that are posted to, and crashRings all: samples thins
// into one of rows.
func crashPosts() []string { return []string{edge.RingAlarms, edge.RingEvents, edge.RingSamples} }

func crashRings() []string { return append(crashPosts(), crashRows()) }

func crashRows() string {
	rows, _ := edge.ThinRings(edge.RingSamples)
	return rows
}

// crashOptions are the options of a small store, which differ by seed.
func crashOptions(mount string, boot string, seed uint64) queue.Options {
	rng := rand.New(rand.NewPCG(seed, 0x0971))
	return queue.Options{
		Dir: filepath.Join(mount, "data"), Boot: boot, Serial: "prove",
		Rings:    map[string]queue.Limits{edge.RingAlarms: {Keep: crashKeep}, edge.RingSamples: {Size: crashSize}},
		Headroom: -1, Codec: edge.BlockCodec{}, MoveEvery: time.Hour,
		MoveRecords:   []int{120, 300, 1000}[rng.IntN(3)],
		JournalBytes:  []int64{64 << 10, 128 << 10, 256 << 10}[rng.IntN(3)],
		SegmentEvents: []int{100, 140, 200}[rng.IntN(3)],
		SegmentBytes:  1 << 20,
	}
}

// crashStore is a store with the way in that the agent has.
type crashStore struct {
	*queue.Store
	pump *edge.Pump
	stop context.CancelFunc
	done chan error
}

func openCrashStore(opt queue.Options) (*crashStore, error) {
	board, err := edge.ThisBoard()
	if err != nil {
		return nil, err
	}
	board.BootID, board.Serial = opt.Boot, opt.Serial
	// A boot of the workload is no older than the run: three of a machine that has
	// been up for eight hours would prove that a day has passed, and keys go then.
	mono, began := board.Mono, runBegan()
	board.Mono = func() int64 { return mono() - began }
	s, err := queue.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	clock := edge.NewClock(board)
	if err := clock.Attach(s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c := &crashStore{Store: s, pump: edge.NewPump(edge.PumpOptions{Agent: "prove", Store: s, Clock: clock}), done: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() { c.done <- c.pump.Run(ctx) }()
	return c, nil
}

// Close stops the pump and closes the store.
func (c *crashStore) Close() error {
	c.stop()
	return errors.Join(<-c.done, c.Store.Close())
}

// post stores the events of ids, and gives them their numbers.
func (c *crashStore) post(ctx context.Context, ids []crashID, key string) ([]crashID, error) {
	evs := make([]edge.Event, len(ids))
	for i, id := range ids {
		evs[i] = crashEvent(id)
	}
	evs, err := c.pump.Post(ctx, evs, edge.Idempotency{Key: key, Body: [32]byte{1}})
	if err != nil {
		return nil, fmt.Errorf("post: %w", err)
	}
	out := make([]crashID, len(evs))
	for i, ev := range evs {
		out[i] = crashID{Ring: ev.Ring, C: ids[i].C, Epoch: ev.Epoch, N: ev.N, Seq: ev.Seq}
	}
	return out, nil
}

// crashEvent is the event of the workload with the number C: a few are larger
// than a block of the journal, and rarely one than a block of a segment.
func crashEvent(id crashID) edge.Event {
	size := id.C * 2654435761 % 240
	switch {
	case id.C%311 == 17:
		size = 17 << 10
	case id.C%61 == 5:
		size = 5 << 10
	}
	var data strings.Builder
	fmt.Fprintf(&data, `{"c":%d,"fill":"`, id.C)
	for i := uint64(0); i < size; i += 8 { // not what a codec could make nothing of
		fmt.Fprintf(&data, "%08x", uint32((id.C+1)*(i+7)*2654435761))
	}
	data.WriteString(`"}`)
	return edge.Event{
		Ring: id.Ring, Name: "prove/" + strconv.FormatUint(id.C%3, 10), Kind: edge.Message,
		From: "client:prove", Data: []byte(data.String()),
	}
}

// crashContent gives the C of a record, and whether all of its bytes are those of
// that event.
func crashContent(ring string, data []byte) (c uint64, ok bool) {
	var ev edge.Event
	if err := edge.DecodePayload(data, &ev); err != nil {
		return 0, false
	}
	return crashSame(ring, ev)
}

// crashSame does the same with an event.
func crashSame(ring string, ev edge.Event) (c uint64, ok bool) {
	digits, found := strings.CutPrefix(string(ev.Data), `{"c":`)
	digits, _, more := strings.Cut(digits, ",")
	c, err := strconv.ParseUint(digits, 10, 64)
	if !found || !more || err != nil {
		return 0, false
	}
	want := crashEvent(crashID{Ring: ring, C: c})
	return c, ev.Name == want.Name && ev.Kind == want.Kind && ev.From == want.From && string(ev.Data) == string(want.Data)
}

// salvageLog is a slog.Handler that tells when a salvage begins and ends.
type salvageLog struct {
	begin, end func()
}

var _ slog.Handler = salvageLog{}

func (h salvageLog) Enabled(context.Context, slog.Level) bool { return true }
func (h salvageLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h salvageLog) WithGroup(string) slog.Handler            { return h }

func (h salvageLog) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "segment is damaged: what is whole in it is being salvaged":
		h.begin()
	case "segment salvaged":
		h.end()
	}
	return nil
}
