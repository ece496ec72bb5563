package edge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// TestLogReadLargeEvents: how much one page holds is bounded in bytes, too.
func TestLogReadLargeEvents(t *testing.T) {
	r := edgetest.NewRig(t)
	const many, size = 24, 100_000
	data := []byte(`"` + strings.Repeat("x", size) + `"`)
	for i := range many {
		ev := change("large", i)
		ev.Ring, ev.Data = "events", data
		if _, err := r.Pump.Post(t.Context(), []edge.Event{ev}, edge.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		if i == many/2 { // one half from segments, one from the tail
			if err := r.Store.Move(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, q := range map[string]edge.Query{
		"all":      {},
		"desc":     {Desc: true},
		"by seq":   {Rings: []string{"events"}, BySeq: true},
		"filtered": {Names: []string{"lar*"}},
	} {
		q.Limit = 1000
		page, err := r.Log.Read(q)
		if err != nil || page.End || len(page.Events) == 0 || len(page.Events) > 4 {
			t.Errorf("%s: %d events in a page, end %v, %v", name, len(page.Events), page.End, err)
		}
		if got := readAll(t, r.Log, q); len(got) != many {
			t.Errorf("%s: %d events in all", name, len(got))
		}
	}
}

func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// fillRig stores n events a ring, in turns: events, alarms, audit.
func fillRig(t *testing.T, r *edgetest.Rig, n int) {
	t.Helper()
	var evs []edge.Event
	for i := range n {
		for _, ring := range []string{"events", "alarms", "audit"} {
			e := change(fmt.Sprint(ring, i%5), i)
			e.Ring = ring
			evs = append(evs, e)
		}
	}
	if _, err := r.Pump.Post(t.Context(), evs, edge.Idempotency{}); err != nil {
		t.Fatal(err)
	}
}

// readAll reads page by page to the end.
func readAll(t *testing.T, l *edge.Log, q edge.Query) (evs []edge.Event) {
	t.Helper()
	for range 1000 {
		page, err := l.Read(q)
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, page.Events...)
		if page.End {
			return evs
		}
		if q.Desc {
			q.Before = page.Next
		} else {
			q.After = page.Next
		}
	}
	t.Fatal("no end")
	return nil
}

func TestLogRead(t *testing.T) {
	r := edgetest.NewRig(t)
	fillRig(t, r, 100)
	for name, c := range map[string]struct {
		q           edge.Query
		count       int
		first, last string
	}{
		"all but the guarded": {edge.Query{}, 200, "events0 1", "alarms4 299"},
		"small pages":         {edge.Query{Limit: 7}, 200, "events0 1", "alarms4 299"},
		"desc":                {edge.Query{Limit: 7, Desc: true}, 200, "alarms4 299", "events0 1"},
		"guarded by name":     {edge.Query{Rings: []string{"audit"}}, 100, "audit0 3", "audit4 300"},
		"by seq":              {edge.Query{Rings: []string{"alarms"}, BySeq: true, Limit: 9}, 100, "alarms0 2", "alarms4 299"},
		"by seq desc":         {edge.Query{Rings: []string{"alarms"}, BySeq: true, Desc: true, Limit: 9}, 100, "alarms4 299", "alarms0 2"},
		"after and before":    {edge.Query{After: edge.Position{N: 10}, Before: edge.Position{N: 20}}, 6, "alarms3 11", "events1 19"},
		"by seq between":      {edge.Query{Rings: []string{"alarms"}, BySeq: true, After: edge.Position{N: 10}, Before: edge.Position{N: 21}, Limit: 3}, 10, "alarms0 32", "alarms4 59"},
		"desc between":        {edge.Query{After: edge.Position{N: 10}, Before: edge.Position{N: 20}, Desc: true, Limit: 2}, 6, "events1 19", "alarms3 11"},
		"names":               {edge.Query{Names: []string{"ev*0", "alarms1"}, Limit: 3}, 40, "events0 1", "alarms1 290"},
		"scope":               {edge.Query{Scope: []string{"*2"}}, 40, "events2 7", "alarms2 293"},
		"an empty scope":      {edge.Query{Scope: []string{}}, 0, "", ""},
		"kinds":               {edge.Query{Kinds: []edge.Kind{edge.Sample}}, 0, "", ""},
		"since":               {edge.Query{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}, 200, "events0 1", "alarms4 299"},
		"until":               {edge.Query{Until: time.Now().Add(-time.Hour)}, 0, "", ""},
		"no such ring":        {edge.Query{Rings: []string{"none"}}, 0, "", ""},
	} {
		evs := readAll(t, r.Log, c.q)
		if len(evs) != c.count {
			t.Errorf("%s: %d events, not %d", name, len(evs), c.count)
			continue
		}
		if len(evs) == 0 {
			continue
		}
		text := func(e edge.Event) string { return fmt.Sprint(e.Name, " ", e.N) }
		if text(evs[0]) != c.first || text(evs[len(evs)-1]) != c.last {
			t.Errorf("%s: %s to %s, not %s to %s", name, text(evs[0]), text(evs[len(evs)-1]), c.first, c.last)
		}
	}
	if _, err := r.Log.Read(edge.Query{BySeq: true}); err == nil {
		t.Error("a read by seq of no ring")
	}
}

// A reader that follows all rings misses nothing of a ring that is made while it
// reads.
func TestLogReadFollowsNewRings(t *testing.T) {
	r := edgetest.NewRig(t)
	const rings = 100
	errs := make(chan error, 1)
	go func() {
		for i := range rings {
			ev := message("a", `1`)
			ev.Ring = fmt.Sprintf("ring-%d", i)
			if _, err := r.Pump.Post(t.Context(), []edge.Event{ev}, edge.Idempotency{}); err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	var at edge.Position
	next, done := uint64(1), false
	for {
		page, err := r.Log.Read(edge.Query{After: at})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			if ev.N != next {
				t.Fatalf("%d came after %d", ev.N, next-1)
			}
			next++
		}
		if at = page.Next; done && page.End {
			break
		}
		select {
		case err := <-errs:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
	}
	if next != rings+1 {
		t.Errorf("%d of %d came", next-1, rings)
	}
}

func TestLogEvent(t *testing.T) {
	r := edgetest.NewRig(t)
	in := []edge.Event{message("a b", `{"x":1}`)}
	in[0].Cause = "00000001-7"
	evs, err := r.Pump.Post(t.Context(), in, edge.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Log.One("events", 1)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := string(got.AppendJSON(nil)), string(evs[0].AppendJSON(nil)); a != b {
		t.Errorf("read   %s\nposted %s", a, b)
	}
	if _, err := r.Log.One("events", 2); !errors.Is(err, queue.ErrNotFound) {
		t.Error(err)
	}
}

func TestLogGaps(t *testing.T) {
	dir := t.TempDir()
	b := edgetest.NewBoard("boot-1")
	opt := edgetest.Options(dir, b)
	opt.Rings = map[string]queue.Limits{"alarms": {Keep: 10}}
	s := edgetest.OpenStore(t, opt)
	c := edgetest.NewClock(t, b, s)
	p, _ := edgetest.RunPump(t, edge.PumpOptions{Agent: "test", Store: s, Clock: c})
	r := &edgetest.Rig{Store: s, Clock: c, Pump: p, Log: edge.NewLog(s, c, "test")}
	fillRig(t, r, 100)
	evs, next, end, err := r.Log.Ring("alarms", 0, queue.Max{})
	if err != nil || !end || next != 100 || len(evs) != 11 {
		t.Fatal(len(evs), next, end, err)
	}
	if h := evs[0].Hole; h == nil || h.From != 1 || h.To != 90 || h.Count != 90 || h.Cause != "evicted" || evs[0].Seq != 90 {
		t.Errorf("%+v", evs[0])
	}
	page, err := r.Log.Read(edge.Query{Rings: []string{"alarms"}, BySeq: true, Limit: 3})
	if err != nil || len(page.Events) == 0 || page.Events[0].Hole == nil {
		t.Fatal(page, err)
	}
	if all := readAll(t, r.Log, edge.Query{Rings: []string{"alarms"}, BySeq: true, Limit: 3}); len(all) != 11 {
		t.Errorf("%d events and gaps", len(all))
	}
	filtered := readAll(t, r.Log, edge.Query{Rings: []string{"alarms"}, BySeq: true, Names: []string{"*"}})
	if len(filtered) != 10 {
		t.Errorf("a filtered reader got %d", len(filtered))
	}
	v := edge.NewVerifier()
	verify := func(q edge.Query) edge.VerifyReport {
		for _, e := range readAll(t, r.Log, q) {
			if err := v.Add(e.AppendJSON(nil)); err != nil {
				t.Fatal(err)
			}
		}
		return v.Report()
	}
	if rep := verify(edge.Query{}); rep.Closed || rep.Missing != 0 {
		t.Errorf("closed without a ledger: %+v", rep)
	}
	if _, err := p.Emit(edge.LedgerEvent(s), nil).Event(); err != nil {
		t.Fatal(err)
	}
	if rep := verify(edge.Query{}); !rep.Closed || rep.Conflicts != 0 || rep.Duplicates == 0 {
		t.Errorf("%+v", rep)
	}
}

// A position of a lost past goes on at what came after it.
func TestLogEpochs(t *testing.T) {
	dir := t.TempDir()
	b := edgetest.NewBoard("boot-1")
	r := edgetest.OpenRig(t, dir, b)
	fillRig(t, r, 10)
	old := r.Store.Epoch()
	v := edge.NewVerifier()
	feed := func(evs []edge.Event) {
		line := []byte("[")
		for i, e := range evs {
			if i > 0 {
				line = append(line, ',')
			}
			line = e.AppendJSON(line)
		}
		if err := v.Add(append(line, ']')); err != nil {
			t.Fatal(err)
		}
	}
	feed(readAll(t, r.Log, edge.Query{}))
	r.Stop()

	other := edgetest.NewBoard("boot-2")
	other.SetSerial("another board")
	r = edgetest.OpenRig(t, dir, other)
	if r.Store.Epoch() == old {
		t.Fatal("no new epoch")
	}
	fillRig(t, r, 10)
	for _, c := range []struct {
		after edge.Position
		first uint64
		reset bool
	}{
		{edge.Position{Epoch: old, N: 28}, 29, false},
		{edge.Position{Epoch: old, N: 30}, 31, false},
		{edge.Position{Epoch: old, N: 35}, 31, true},
		{edge.Position{Epoch: 0xdead, N: 35}, 1, true},
		{edge.Position{Epoch: r.Store.Epoch(), N: 40}, 41, false},
	} {
		page, err := r.Log.Read(edge.Query{After: c.after, Rings: []string{"events", "alarms", "audit"}})
		if err != nil || page.Reset != c.reset || len(page.Events) == 0 || page.Events[0].N != c.first {
			t.Errorf("after %v: %+v %v", c.after, page, err)
		}
	}
	page, err := r.Log.Read(edge.Query{Limit: 1, After: edge.Position{N: 28}})
	if err != nil || page.Next != (edge.Position{Epoch: old, N: 29}) {
		t.Error(page.Next, err)
	}
	if _, err := r.Pump.Emit(edge.LedgerEvent(r.Store), nil).Event(); err != nil {
		t.Fatal(err)
	}
	feed(readAll(t, r.Log, edge.Query{}))
	rep := v.Report()
	if !rep.Closed || len(rep.Rings) != 4 || rep.Conflicts != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestMatchName(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"door", "door", true}, {"door", "doors", false}, {"*", "", true}, {"kitchen/*", "kitchen/a/b", true}, {"kitchen/*", "kitchen", false},
		{"*/a", "x/y/a", true}, {"a*b*c", "aXbYbc", true}, {"a*b*c", "aXbYcd", false}, {"", "", true}, {"", "a", false}, {"**", "x", true},
	} {
		if got := edge.MatchName(c.pattern, c.name); got != c.want {
			t.Errorf("%q %q: %v", c.pattern, c.name, got)
		}
	}
}

func BenchmarkLogRing(b *testing.B) {
	r := edgetest.NewRig(b)
	var evs []edge.Event
	for i := range 8000 {
		evs = append(evs, message(fmt.Sprint("site7/pump", i%20), `{"value":23.4571,"unit":"C","state":"running","quality":"good","raw":[1021,1022,1019]}`))
	}
	if _, err := r.Pump.Post(context.Background(), evs, edge.Idempotency{}); err != nil {
		b.Fatal(err)
	}
	var buf []byte
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		got, _, _, err := r.Log.Ring("events", 0, queue.Max{Records: 1000})
		if err != nil {
			b.Fatal(err)
		}
		for i := range got {
			buf = got[i].AppendJSON(buf[:0])
		}
		n += len(got)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}
