package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"fieldpost/queue"
)

// parts are the seqs of a ring that a state reads: all of a small store; of a
// large one what the damage touched and what lies around it, both ends, and a few
// places more.
func (f *rotFacts) parts(ring string, may rotSet, seed uint64) []queue.Range {
	r := f.Rings[ring]
	end := r.Last + 1000 // and what is appended
	if len(f.Pages) <= 10_000 {
		return []queue.Range{{From: 1, To: end}}
	}
	const around = 3000
	var out []queue.Range
	add := func(from, to uint64) {
		if k := len(out); k > 0 && from <= out[k-1].To+1 {
			out[k-1].To = max(out[k-1].To, to)
			return
		}
		out = append(out, queue.Range{From: from, To: to})
	}
	low, high := r.Last, uint64(0)
	for _, x := range may {
		if x.Ring == ring {
			low, high = min(low, x.From), max(high, x.To)
		}
	}
	add(1, max(r.Floor, 1)+around)
	at := seed % (r.Last / 2)
	for _, p := range [][2]uint64{{at, at + around}, {low - min(low, around), high + around}, {at + r.Last/2, at + r.Last/2 + around}} {
		if k := len(out); p[0] > 0 && p[1] > p[0] && p[0] > out[k-1].From {
			add(p[0], min(p[1], end))
		}
	}
	if last := out[len(out)-1]; last.To < end {
		add(max(last.To+1, r.Last-around), end)
	}
	return out
}

// copyTo makes a copy of the store for a state. Segments that are read alone are
// linked where they are not what is damaged: the store may not write to them.
func (f *rotFacts) copyTo(dir string, s rotState) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if len(f.Pages) <= 10_000 {
		return copyFolder(f.Dir, dir)
	}
	done := map[string]bool{}
	for _, p := range f.Pages {
		if done[p.File] {
			continue
		}
		done[p.File] = true
		from, to := filepath.Join(f.Dir, p.File), filepath.Join(dir, p.File)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if strings.HasSuffix(p.File, ".seg") && p.File != s.spot.File && !f.newest(p.File) {
			if err := os.Link(from, to); err != nil {
				return err
			}
			continue
		}
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, raw, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newest reports whether a segment is its ring's last one, which is written.
func (f *rotFacts) newest(file string) bool {
	for _, p := range f.Pages {
		if filepath.Dir(p.File) == filepath.Dir(file) && p.File > file {
			return false
		}
	}
	return true
}

// runRotWorker is the verb of the process that takes states: what crashes it is a
// broken promise of the state that it was at. It says which it begins, and what
// came of it.
func runRotWorker(ctx context.Context, args []string, out io.Writer) error {
	fs, _ := flags("rotworker", out)
	facts := fs.String("facts", "", "the `file` with what is known of the store")
	seed := fs.Uint64("seed", 0, "the `number` that the damage comes from")
	from := fs.Int("from", 0, "the first `state`")
	to := fs.Int("to", 1, "the `state` behind the last")
	step := fs.Int("step", 1, "takes each so many `states`")
	inTurn := fs.Bool("in-turn", false, "takes the pages one after another")
	dir := fs.String("dir", "", "the `folder` for the damaged stores")
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := loadRotFacts(*facts)
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	say := json.NewEncoder(out)
	for i := *from; i < *to && ctx.Err() == nil; i += *step {
		s := f.state(*seed, i, *inTurn)
		fmt.Fprintf(out, "begin %d\n", i)
		found, err := f.checkState(ctx, s, filepath.Join(*dir, "store"))
		for try := 1; err == nil && found.Start > startBound && try < 3; try++ { // best of three on the same state
			var again *rotFound
			if again, err = f.checkState(ctx, s, filepath.Join(*dir, "store")); err == nil {
				found.Start = min(found.Start, again.Start)
			}
		}
		if err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		if err := say.Encode(found); err != nil {
			return err
		}
	}
	return nil
}
