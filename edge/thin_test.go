package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// TestThinnedIsNamed: minutes become rows, what is no sample goes as it would
// have, and the gaps say which is which.
func TestThinnedIsNamed(t *testing.T) {
	r := newThinRig(t, t.TempDir(), syncedBoard("boot-1"), nil, nil)
	zero := r.zero()
	var all []at
	for i := range 6000 { // 1000 minutes, of two sensors
		mono := zero + time.Duration(i)*10*time.Second
		all = append(all, sample(mono, "air", fmt.Sprintf(`{"value":%d,"unit":"°C"}`, i%7)), sample(mono+time.Second, "soil", fmt.Sprintf(`%d`, i)))
		if i == 100 {
			all = append(all, at{mono + 2*time.Second, edge.Event{Name: "air", Kind: edge.Change, From: "device:air", Data: json.RawMessage(`{"value":true}`)}})
		}
	}
	r.put(all...)
	r.askFor(1000)
	r.thin()
	gaps := r.gaps("samples")
	// 11,001 records are asked for: the next whole minute begins 12 records each.
	want := []string{"1-202 thinned samples-1m:1-1834", "203-203 evicted", "204-11005 thinned samples-1m:1-1834"}
	if !slices.Equal(gaps, want) {
		t.Fatalf("gaps %q, want %q", gaps, want)
	}
	rows := r.tallies("samples-1m")
	if len(rows) != 1834 {
		t.Fatalf("%d rows", len(rows))
	}
	first, _, _ := r.Clock.Time(queue.Stamp{Boot: r.Store.Boot(), Mono: int64(zero + 50*time.Second)})
	for i, want := range []string{
		first.Format("15:04:05 ") + `air {"value":2.5,"min":0,"mean":2.5,"max":5,"last":5,"n":6,"unit":"°C","span":50}`,
		first.Add(time.Second).Format("15:04:05 ") + `soil {"value":2.5,"min":0,"mean":2.5,"max":5,"last":5,"n":6,"span":50}`,
	} {
		if rows[i] != want {
			t.Errorf("row %d\n%s, want\n%s", i, rows[i], want)
		}
	}
	info, _ := r.Store.Ring("samples")
	if info.Thinned != 11004 || info.Gone != 11005 {
		t.Errorf("%+v", info)
	}
	r.thin()
	if again := r.gaps("samples"); !slices.Equal(again, gaps) {
		t.Errorf("thinned again: %q", again)
	}
}

// TestThinnedOnce: a power cut at any write of a thinning leaves all of it or
// nothing: each sample is in one row, or still there.
func TestThinnedOnce(t *testing.T) {
	var total int
	for cut := range 40 {
		dir := t.TempDir()
		r := newThinRig(t, dir, syncedBoard("boot-1"), nil, nil)
		zero := r.zero()
		var all []at
		for i := range 9000 {
			all = append(all, sample(zero+time.Duration(i)*10*time.Second, "air", `{"value":1}`))
		}
		r.put(all...)
		if err := r.Store.Move(); err != nil {
			t.Fatal(err)
		}
		steps, killed := 0, errors.New("power cut")
		r.fault.Store(func(string) error {
			if steps++; steps > cut {
				return killed
			}
			return nil
		})
		r.askFor(100)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		_ = r.thinner.Work(ctx)
		_ = r.Store.Move()
		stop()
		died := steps > cut
		r.Stop() // nothing that it writes gets through
		again := newThinRig(t, dir, syncedBoard("boot-2"), nil, nil)
		n := 0
		again.each("samples", func(ev *edge.Event) {
			if ev.Hole == nil {
				n++
			} else if ev.Hole.Cause != "thinned" || ev.Hole.Thinned.Ring != "samples-1m" {
				t.Fatalf("cut %d: %+v", cut, ev.Hole)
			}
		})
		raw := n
		again.each("samples-1m", func(ev *edge.Event) {
			var row struct{ N int }
			if err := json.Unmarshal(ev.Data, &row); err != nil || ev.Hole != nil {
				t.Fatalf("cut %d: %s", cut, ev.AppendJSON(nil))
			}
			n += row.N
		})
		if n != len(all) {
			t.Fatalf("cut %d: %d samples are left as they were, and %d in all, of %d", cut, raw, n, len(all))
		}
		if raw < len(all) {
			total++
		}
		again.Stop()
		if !died {
			if total == 0 || cut < 3 {
				t.Fatalf("cut %d never came; %d had thinned", cut, total)
			}
			t.Logf("%d cuts, of which %d after it was thinned", cut, total-1)
			return
		}
	}
	t.Fatal("the cuts never came to an end")
}

// TestUnthinnedGoes: where rows can't be written the ring is bounded all the
// same, and says how.
func TestUnthinnedGoes(t *testing.T) {
	r := newThinRig(t, t.TempDir(), syncedBoard("boot-1"), thinRings(queue.Limits{Keep: 40_000}, queue.Limits{}, queue.Limits{}), nil)
	zero := r.zero()
	one := func(i int) at { return sample(zero+time.Duration(i)*time.Second, "air", `{"value":1}`) }
	for i := 0; i < 80_000; i += 1000 {
		var all []at
		for k := range 1000 {
			all = append(all, one(i+k))
		}
		r.put(all...)
	}
	info, _ := r.Store.Ring("samples")
	if shown := info.Last + 1 - info.First; shown != 50_000 {
		t.Errorf("%d are shown, want the 40,000 and a quarter", shown)
	}
	if gaps := r.gaps("samples"); !slices.Equal(gaps, []string{"1-30000 evicted"}) {
		t.Errorf("gaps %q", gaps)
	}
	r.thin()
	if gaps := r.gaps("samples"); len(gaps) != 2 || !strings.HasPrefix(gaps[1], "30001-40020 thinned samples-1m:1-") {
		t.Errorf("gaps %q", gaps)
	}
}

// TestThinnedAcrossTimes: what boots knew of the time counts, and a row's time is
// corrected as that of its samples is.
func TestThinnedAcrossTimes(t *testing.T) {
	dir := t.TempDir()
	b1 := edgetest.NewBoard("boot-1")
	b1.SetWall(time.Date(2026, 3, 1, 10, 0, 30, 0, time.UTC))
	b1.SetMono(time.Second)
	r := newThinRig(t, dir, b1, nil, nil)
	r.put(sample(2*time.Second, "air", "1"), sample(3*time.Second, "air", "2"))
	r.Stop()

	b2 := edgetest.NewBoard("boot-2") // its clock stands where that one ended: the same minute, as far as is known
	b2.SetWall(time.Date(2026, 3, 1, 10, 0, 30, 0, time.UTC))
	b2.SetMono(time.Second)
	r = newThinRig(t, dir, b2, nil, nil)
	r.put(sample(2*time.Second, "air", "3"), sample(4*time.Second, "air", "5"), sample(200*time.Second, "air", "9"))
	var late []at
	for i := range 4000 {
		late = append(late, sample(time.Duration(300+i)*time.Second, "late", "0"))
	}
	r.put(late...)
	r.askFor(1)
	r.thin()
	rows := r.tallies("samples-1m")
	if len(rows) < 3 || !strings.HasSuffix(rows[0], `air {"value":1.5,"min":1,"mean":1.5,"max":2,"last":2,"n":2,"span":1}`) ||
		!strings.HasSuffix(rows[1], `air {"value":4,"min":3,"mean":4,"max":5,"last":5,"n":2,"span":2}`) {
		t.Fatalf("%q", rows[:min(3, len(rows))])
	}
	stop := runClock(t, r.Rig)
	defer stop()
	b2.SetMono(3 * time.Hour)
	b2.SetSync(true, time.Millisecond)
	b2.SetWall(time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)) // a step: the clock looks at once
	for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		if _, state, _ := r.Clock.Time(r.Clock.Stamp()); state == edge.Synced { // told, so it is durable
			break
		}
		if time.Now().After(end) {
			t.Fatal("the clock did not learn the time")
		}
	}
	r.each("samples-1m", func(ev *edge.Event) {
		if ev.Seq == 2 && (ev.Clock != edge.Corrected || ev.Time.Day() != 5) {
			t.Errorf("the row is at %v, %s", ev.Time, ev.Clock)
		}
	})
}

// TestThinnedNames: a thousand names, one of which says something once a year.
func TestThinnedNames(t *testing.T) {
	r := newThinRig(t, t.TempDir(), syncedBoard("boot-1"), nil, nil)
	zero := r.zero()
	all := []at{sample(zero, "rare", `{"value":7}`)}
	for i := range 20 {
		for n := range 1000 {
			all = append(all, sample(zero+time.Duration(i)*10*time.Second+time.Duration(n)*time.Millisecond, fmt.Sprint("n", n), fmt.Sprint(i)))
		}
	}
	all = append(all, sample(zero+365*24*time.Hour, "rare", `{"value":8}`))
	r.put(all...)
	r.askFor(1)
	r.thin()
	seen := map[string]int{}
	r.each("samples-1m", func(ev *edge.Event) {
		var row struct {
			N        int
			Min, Max float64
		}
		if err := json.Unmarshal(ev.Data, &row); err != nil {
			t.Fatal(err)
		}
		seen[ev.Name] += row.N
		if ev.Name == "rare" && (row.Min != 7 || row.Max != 7 || row.N != 1) {
			t.Errorf("%s", ev.Data)
		}
	})
	if len(seen) != 1001 || seen["n0"] != 20 || seen["n999"] != 20 {
		t.Errorf("%d names, %d of n0", len(seen), seen["n0"])
	}
	if gaps := r.gaps("samples"); len(gaps) != 1 || gaps[0] != "1-20001 thinned samples-1m:1-4001" {
		t.Errorf("%q", gaps)
	}
}

// TestThinnedGapIsRead: a receiver reads the gap back as it was told.
func TestThinnedGapIsRead(t *testing.T) {
	ev := edge.Event{Epoch: 1, Ring: "samples", Seq: 9, Agent: "a", Name: "gap", Kind: edge.Gap,
		Hole: &edge.Hole{From: 1, To: 9, Count: 9, Cause: "thinned", Thinned: edge.Thinned{Ring: "samples-1m", From: 3, To: 4}}}
	text := ev.AppendJSON(nil)
	if !strings.Contains(string(text), `"cause":"thinned","thinned":{"ring":"samples-1m","from":3,"to":4}}}`) {
		t.Errorf("%s", text)
	}
	var back edge.Event
	if err := json.Unmarshal(text, &back); err != nil || *back.Hole != *ev.Hole {
		t.Errorf("%v: %+v", err, back.Hole)
	}
}

// TestThinnerTriesAgain: while nothing can be stored it says so once, and it does
// what is asked for when that is over.
func TestThinnerTriesAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newThinRig(t, dir, syncedBoard("boot-1"), nil, nil)
		defer r.Stop()
		thinner := edge.NewThinner(edge.ThinnerOptions{Store: r.Store, Pump: r.Pump, Clock: r.Clock, Log: slog.New(slog.NewTextHandler(&log, nil))})
		zero := r.zero()
		var all []at
		for i := range 9000 {
			all = append(all, sample(zero+time.Duration(i)*10*time.Second, "air", "1"))
		}
		r.put(all...)
		full := errors.New("no space left")
		r.fault.Store(func(string) error { return full })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- thinner.Run(ctx) }()
		r.askFor(100)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "can't be thinned yet"); n != 1 {
			t.Errorf("told %d times: %s", n, &log)
		}
		if gaps := r.gaps("samples"); gaps != nil {
			t.Errorf("gaps %q", gaps)
		}
		r.fault.Store((func(string) error)(nil))
		<-time.After(time.Minute)
		synctest.Wait()
		if gaps := r.gaps("samples"); len(gaps) != 1 || !strings.HasPrefix(gaps[0], "1-8904 thinned samples-1m:1-") {
			t.Errorf("gaps %q", gaps)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestThinnedWide: samples of many quantities are thinned in flushes that the
// store takes, and a minute that is too wide for one gets a row from each.
func TestThinnedWide(t *testing.T) {
	r := newThinRig(t, t.TempDir(), syncedBoard("boot-1"), nil, func(o *queue.Options) { o.JournalBytes = 4 << 20 })
	zero := r.zero()
	const names, fields, rounds = 60, 200, 9
	for i := range rounds {
		var part []at
		for n := range names {
			var b strings.Builder
			for f := range fields {
				fmt.Fprintf(&b, `,"quantity-%d":%d`, f, i*n+f)
			}
			part = append(part, sample(zero+time.Duration(i)*20*time.Second+time.Duration(n)*time.Millisecond, fmt.Sprint("n", n), "{"+b.String()[1:]+"}"))
			if len(part) == 20 {
				r.put(part...)
				part = nil
			}
		}
	}
	var late []at
	for i := range 3000 { // so that the ring asks for what is before
		late = append(late, sample(zero+time.Hour+time.Duration(i)*time.Second, "late", "1"))
	}
	r.put(late...)
	r.askFor(1)
	r.thin()
	seen, rows := map[string]float64{}, map[string]int{}
	r.each("samples-1m", func(ev *edge.Event) {
		var row struct {
			Fields map[string]struct{ N, Mean float64 }
		}
		if err := json.Unmarshal(ev.Data, &row); err != nil {
			t.Fatal(err)
		}
		for name, f := range row.Fields {
			seen[ev.Name+name] += f.N * f.Mean
		}
		rows[ev.Name]++
	})
	for n := range names {
		name := fmt.Sprint("n", n)
		for f := range fields {
			want := float64(rounds*f + n*rounds*(rounds-1)/2)
			if got := seen[name+fmt.Sprint("quantity-", f)]; got < want-1e-6 || got > want+1e-6 {
				t.Fatalf("quantity %d of %s sums up to %v, want %v", f, name, got, want)
			}
		}
		if rows[name] < 3 {
			t.Errorf("%d rows of %s", rows[name], name)
		}
	}
}

// TestThinnedAmongOthers: in a ring where every third event is no sample each of
// them has its gap, and all of it goes in flushes of a bounded size.
func TestThinnedAmongOthers(t *testing.T) {
	r := newThinRig(t, t.TempDir(), syncedBoard("boot-1"), nil, nil)
	zero := r.zero()
	var all []at
	for i := range 5000 {
		mono := zero + time.Duration(i)*time.Second
		all = append(all, sample(mono, "air", "1"))
		if i%2 == 1 {
			all = append(all, at{mono, edge.Event{Name: "note", Kind: edge.Message, From: "client:x", Data: json.RawMessage("0")}})
		}
	}
	r.put(all...)
	r.askFor(3000)
	r.thin()
	thinned, evicted, n := 0, 0, 0
	r.each("samples", func(ev *edge.Event) {
		switch h := ev.Hole; {
		case h == nil:
		case h.Cause == "thinned":
			thinned += int(h.Count)
		default:
			evicted += int(h.Count)
		}
	})
	r.each("samples-1m", func(ev *edge.Event) {
		var row struct{ N int }
		if err := json.Unmarshal(ev.Data, &row); err != nil || ev.Name != "air" {
			t.Fatalf("%v: %s", err, ev.AppendJSON(nil))
		}
		n += row.N
	})
	if thinned < 3000 || thinned != n || evicted != thinned/2 {
		t.Errorf("%d thinned, %d in rows, %d evicted", thinned, n, evicted)
	}
}
