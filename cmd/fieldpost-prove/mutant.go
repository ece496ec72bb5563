package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mutant is a build that breaks one promise on purpose. A harness that lets it
// pass proves nothing.
type mutant struct {
	name  string
	edits []edit
	// catch runs what should catch it, and reports whether it did: an error is one
	// of the set-up.
	catch func(ctx context.Context, p *proof, b *mutantBuild) (caught bool, err error)
}

// edit replaces a text that stands in a file exactly once.
type edit struct {
	file     string // below the module's folder
	old, new string
}

// mutants is the table of them.
func mutants() []mutant {
	return []mutant{
		{"no flush of the journal", []edit{{
			"queue/half.go",
			"\tif err == nil {\n\t\terr = datasync(f)\n\t}\n",
			"",
		}}, byCrash},
		{"visible before durable", []edit{{
			"queue/append.go",
			"\tif err := s.writeFlush(f, stream, codec); err != nil {",
			"\ts.publish(f)\n\tif err := s.writeFlush(f, stream, codec); err != nil {",
		}, {
			"queue/append.go",
			"\ts.publish(f)\n\treturn receipt, nil",
			"\treturn receipt, nil",
		}}, byCrash},
		{"a journal block with acknowledged records written again", []edit{{
			"queue/half.go",
			"\th.pos += int64(len(run))\n\treturn nil",
			"\th.pos += int64(len(run)) - blockSize\n\treturn nil",
		}}, byCrash},
		{"the folder not synced after a segment is made", []edit{{
			"queue/fill.go",
			"\tif fresh {\n\t\tif err := SyncFolder(f.dir); err != nil {",
			"\tif false {\n\t\tif err := SyncFolder(f.dir); err != nil {",
		}}, byCrash},
		{"the folder above a new store not synced", []edit{{
			"queue/open.go",
			"\t\tsyncAbove(opt.Dir, opt.Log)\n",
			"\t\t_ = syncAbove\n",
		}}, byCrash},
		{"an epoch kept after a lost tail", []edit{{
			"queue/open.go",
			"case !s.about.Clean && s.about.Boot != s.opt.Boot:",
			"case !s.about.Clean && s.about.Boot != s.opt.Boot && s.about.Flush > 1<<60:",
		}}, byCrash},
		{"a segment's commit without its flush", []edit{{
			"queue/segment.go",
			"FreelistType: bolt.FreelistArrayType, ReadOnly: !write}",
			"FreelistType: bolt.FreelistArrayType, ReadOnly: !write, NoSync: true}",
		}}, byCrash},
		{"a segment unlinked before its hole is durable", []edit{{
			"queue/move.go",
			"\ts.bound()\n\tif err := s.saveMove(m, batches); err != nil {",
			"\ts.bound()\n\tif err := s.unlink(true); err != nil {\n\t\treturn err\n\t}\n\tif err := s.saveMove(m, batches); err != nil {",
		}}, byCrash},
		{"an idempotency key in the flush after its events'", []edit{{
			"edge/batch.go",
			"\t\t\tb.rows = append(b.rows, p.keys.rows(u.r, b, p)...)\n",
			"\t\t\tb.rows = append(b.rows, late...)\n\t\t\tlate = p.keys.rows(u.r, b, p)\n",
		}, {
			"edge/batch.go",
			"func (b *batch) put(",
			"var late []queue.Row\n\nfunc (b *batch) put(",
		}}, byCrash},
		{"a cursor moved before the peer acknowledged", []edit{{
			"uplink/send.go",
			"\t\tp.events = p.events[n:]\n\t\tif alone",
			"\t\tfor i := range p.events[:n] {\n\t\t\ts.f.cursor.Ack(p.ring, rangeOf(&p.events[i]))\n\t\t}\n\t\tp.events = p.events[n:]\n\t\tif alone",
		}}, byWithheld},
	}
}

// runMutants builds mutants, as many as there are or runs of them by the seed, and
// has each caught.
func runMutants(ctx context.Context, p *proof, runs int) ([]result, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	all := mutants()
	rng := p.rand("mutants")
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(runs, len(all))]
	res := result{fault: "mutant: a broken build that must be caught"}
	for _, m := range all {
		began := time.Now()
		b, err := buildMutant(ctx, p, root, m)
		if err != nil {
			return []result{res}, err
		}
		caught, err := m.catch(ctx, p, b)
		if err != nil {
			return []result{res}, fmt.Errorf("mutant %q: %w", m.name, err)
		}
		res.runs++
		if !caught {
			res.failed("the mutant %q was not caught", m.name)
		}
		p.say("mutant %q: caught %v, %v", m.name, caught, time.Since(began).Round(time.Second))
	}
	return []result{res}, nil
}

// mutantBuild is a mutant's programs.
type mutantBuild struct {
	prove, fieldpost string
	dir              string
}

// moduleRoot is the folder of the module's source.
func moduleRoot(ctx context.Context) (string, error) {
	b, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "fieldpost").Output()
	if err != nil {
		return "", fmt.Errorf("find the source: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// buildMutant builds both programs from the source with the edits laid over it.
func buildMutant(ctx context.Context, p *proof, root string, m mutant) (*mutantBuild, error) {
	dir, err := p.folder("mutant")
	if err != nil {
		return nil, err
	}
	overlay, err := writeOverlay(dir, root, m)
	if err != nil {
		return nil, err
	}
	b := &mutantBuild{prove: filepath.Join(dir, "fieldpost-prove"), fieldpost: filepath.Join(dir, "fieldpost"), dir: dir}
	for out, pkg := range map[string]string{b.prove: "./cmd/fieldpost-prove", b.fieldpost: "./cmd/fieldpost"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", out, pkg)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build mutant %q: %w: %s", m.name, err, said)
		}
	}
	return b, nil
}

// writeOverlay writes a mutant's files, and the table of them for go build.
func writeOverlay(dir, root string, m mutant) (string, error) {
	texts, err := m.apply(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write mutant: %w", err)
		}
		replace[filepath.Join(root, file)] = to
	}
	table, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write mutant: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, table, 0o600); err != nil {
		return "", fmt.Errorf("write mutant: %w", err)
	}
	return path, nil
}

// apply gives the mutated text of each file that it edits.
func (m mutant) apply(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, fmt.Errorf("read source of mutant %q: %w", m.name, err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("the mutant %q no longer fits the source: %s has its text %d times", m.name, e.file, n)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return texts, nil
}

// byCrash runs the mutant's own crash harness, whose table must say BROKEN. The
// workload and the choice of states are random: it has a few tries.
func byCrash(ctx context.Context, p *proof, b *mutantBuild) (bool, error) {
	const tries, states = 4, "300"
	for try := range uint64(tries) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, b.prove, "prove", "-only", "crash", "-runs", states,
			"-seed", fmt.Sprint(p.seed+try), "-fieldpost", b.fieldpost)
		cmd.Env = append(os.Environ(), "TMPDIR="+b.dir) // also for the images of what it finds
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "  BROKEN") {
			return true, nil
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
			return false, fmt.Errorf("run its harness: %w", errors.Join(err, ctx.Err()))
		}
		if err != nil { // it failed without a promise broken
			return false, fmt.Errorf("run its harness: %w: %s", err, out)
		}
	}
	return false, nil
}
