package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/queue"
)

// tinyRot is a store that is made and read in a moment.
var tinyRot = rotSize{Records: 10_500, Unmoved: 70, Batch: 35, Segment: 64 << 10, Journal: 64 << 10, Segments: 65_536}

func buildTiny(t *testing.T, clean bool) *rotFacts {
	t.Helper()
	f, err := buildRot(filepath.Join(t.TempDir(), "store"), tinyRot, clean)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRotDamages: each kind changes the page that it is told to, or its file.
func TestRotDamages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	whole := make([]byte, 5*rotPage)
	for i := range whole {
		whole[i] = byte(rng.Uint32()) | 1
	}
	for _, k := range rotKinds() {
		left := k.do(bytes.Clone(whole), 2, rng)
		switch {
		case k.all && len(left) > 0, k.rest && len(left) != 2*rotPage:
			t.Errorf("%s leaves %d bytes", k.name, len(left))
		case k.all || k.rest:
		case bytes.Equal(left[2*rotPage:3*rotPage], whole[2*rotPage:3*rotPage]):
			t.Errorf("%s changes nothing", k.name)
		case !bytes.Equal(left[:2*rotPage], whole[:2*rotPage]) || !bytes.Equal(left[3*rotPage:], whole[3*rotPage:]):
			t.Errorf("%s changes other pages", k.name)
		}
	}
}

// TestRotFacts: the survey knows a place for every record of the store.
func TestRotFacts(t *testing.T) {
	for _, clean := range []bool{false, true} {
		f := buildTiny(t, clean)
		var all rotSet
		for _, pages := range f.Loss {
			for _, l := range pages {
				all = append(all, l...)
			}
		}
		for name, r := range f.Rings {
			for seq := r.Floor + 1; seq <= r.Last; seq++ {
				if !all.has(name, seq) {
					t.Fatalf("clean %v: nobody has %s %d", clean, name, seq)
				}
			}
		}
		for n := uint64(1); n <= f.LastN; n++ {
			if ring, seq := rotNumber(n); seq == 0 || seq > f.Rings[ring].Last {
				t.Fatalf("n %d is %s %d", n, ring, seq)
			}
		}
	}
}

// TestRotStates: a few states of a tiny store break no promise.
func TestRotStates(t *testing.T) {
	step := 7
	if testing.Short() {
		step = 29
	}
	for _, clean := range []bool{false, true} {
		f := buildTiny(t, clean)
		for i := 0; i < len(f.Pages); i += step {
			found, err := f.checkState(context.Background(), f.state(1, i, true), filepath.Join(t.TempDir(), "state"))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range found.Broken {
				t.Errorf("clean %v, %v: %s", clean, f.state(1, i, true), b)
			}
		}
	}
}

// TestRotFinds: a store that breaks a promise is found out.
func TestRotFinds(t *testing.T) {
	none := rotKind{name: "nothing", do: func(raw []byte, _ int, _ *rand.Rand) []byte { return raw }}
	for name, c := range map[string]struct {
		change func(f *rotFacts) // of what is known, so that the store seems to lie
		words  string
	}{
		"whole":               {func(*rotFacts) {}, ""},
		"a number twice":      {func(f *rotFacts) { f.Rings["events"].Last += 10 }, "was given again"},
		"a content changed":   {func(f *rotFacts) { f.Rings["events"].Epoch[1]++ }, "is of epoch"},
		"a row changed":       {func(f *rotFacts) { clear(f.Rows); clear(f.Older); f.Rows["key 000"] = "x" }, "row key"},
		"a cursor is ahead":   {func(f *rotFacts) { f.Acked["events"] = 3 }, "cursor"},
		"the mailbox ahead":   {func(f *rotFacts) { f.Mail = 1 }, "mailbox"},
		"an eviction too far": {func(f *rotFacts) { f.Rings["alarms"].Floor -= 20 }, "was the floor"},
	} {
		f := buildTiny(t, true)
		c.change(f)
		s := rotState{spot: rotSpot{"lock", 0}, kind: none, boot: "boot-2"}
		found, err := f.checkState(context.Background(), s, filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		if said := strings.Join(found.Broken, "; "); (said == "") != (c.words == "") || !strings.Contains(said, c.words) {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// TestRotNoticesDamage: what the damage took is counted as told.
func TestRotNoticesDamage(t *testing.T) {
	f := buildTiny(t, true)
	for i, p := range f.Pages {
		if !strings.HasSuffix(p.File, ".seg") || f.Loss[p.File][p.Page].count() < 20 || strings.Contains(p.File, "alarms") {
			continue
		}
		s := f.state(1, i, true)
		s.kind = rotKinds()[0]
		found, err := f.checkState(context.Background(), s, filepath.Join(t.TempDir(), "state"))
		if err != nil || len(found.Broken) > 0 {
			t.Fatalf("%v: %v %q", s, err, found.Broken)
		}
		if found.Told == 0 || found.Told > f.explains(s).count() {
			t.Fatalf("%v: told %d, at most %d were lost", s, found.Told, f.explains(s).count())
		}
		return
	}
	t.Fatal(errors.New("no page has records"), os.ErrNotExist)
}

// TestJudgeResumed: a record that the builder wrote and that was passed over is found;
// one that was appended afterwards has a number that the builder would have given to
// another ring, and is no fault.
func TestJudgeResumed(t *testing.T) {
	after := map[string]*rotView{}
	for _, ring := range rotRings {
		after[ring.name] = &rotView{}
	}
	after["events"].add(2)
	page := queue.Page{Items: []queue.Item{{Record: queue.Record{Ring: "events", Seq: 1, N: 1}}, {Record: queue.Record{Ring: "samples", Seq: 1, N: 3}}}}
	for lastN, want := range map[uint64]int{1: 0, 6: 1} { // n 2 is events 2 to the builder
		r := &rotRun{facts: &rotFacts{LastN: lastN}, out: &rotFound{}}
		r.judgeResumed(map[uint64]queue.Page{0: page}, after)
		if len(r.out.Broken) != want {
			t.Errorf("with the builder's last n %d: %v", lastN, r.out.Broken)
		}
	}
}
