package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"fieldpost/queue"
)

// crashNote is a line of the trace that the writer keeps of its work, on tmpfs.
// At is the length of the block log at that instant: what was acknowledged then
// must be in every state of the disk from there on.
type crashNote struct {
	At   int    `json:"at"`
	What string `json:"what"`

	IDs   []crashID             `json:"ids,omitempty"`
	Holes []queue.Hole          `json:"holes,omitempty"`
	Key   string                `json:"key,omitempty"`
	N     uint64                `json:"n,omitempty"`
	Ring  string                `json:"ring,omitempty"`
	Range queue.Range           `json:"range,omitzero"`
	Kept  map[string]crashSpans `json:"kept,omitempty"`
}

type crashSpans = []queue.Range

// What a note tells.
const (
	noteTry     = "try"     // IDs are about to be posted, with Key; only C and Ring are known
	noteAck     = "ack"     // they were acknowledged
	noteSaw     = "saw"     // a reader has IDs and Holes
	noteMail    = "mail"    // the mailbox is about to be moved to N
	noteMailed  = "mailed"  // that was acknowledged
	noteCursor  = "cursor"  // Range of Ring is about to be acknowledged to the cursor
	noteKept    = "kept"    // the cursor's ranges Kept are durable
	noteStep    = "step"    // the store is about to do the step Key (queue.Options.Fault)
	noteDamage  = "damage"  // what is damaged on purpose: Range of Ring, and nothing else
	noteOpen    = "open"    // the store is about to be opened, in the boot Key
	noteOpened  = "opened"  // and was
	noteClose   = "close"   // it is about to be closed
	noteClosed  = "closed"  // and was
	noteMove    = "move"    // the journal is about to be moved
	noteMoved   = "moved"   // and was
	noteSalvage = "salvage" // a salvage begins
	noteHealed  = "healed"  // and ends
	noteThin    = "thin"    // Range of the samples is about to be thinned
	noteThinned = "thinned" // and that was acknowledged
)

// crashID is one event of the workload: C, its own number, tells its content.
type crashID struct {
	Ring  string `json:"r"`
	C     uint64 `json:"c"`
	Epoch uint32 `json:"e,omitempty"`
	N     uint64 `json:"n,omitempty"`
	Seq   uint64 `json:"s,omitempty"`
}

// crashTrace writes notes. A note is in the file before its call returns, so that
// SIGKILL takes none.
type crashTrace struct {
	mu    sync.Mutex
	file  *os.File
	count *blockCount
	err   error
}

func openCrashTrace(path, countFile string) (*crashTrace, error) {
	count, err := openBlockCount(countFile)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	return &crashTrace{file: f, count: count}, nil
}

// now is the block log's length.
func (t *crashTrace) now() int { return t.count.get() }

// note writes a note of this instant.
func (t *crashTrace) note(n crashNote) { t.noteAt(t.now(), n) }

// noteAt writes a note of an instant before.
func (t *crashTrace) noteAt(at int, n crashNote) {
	n.At = at
	b, err := json.Marshal(n)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		_, err = t.file.Write(append(b, '\n'))
	}
	t.err = errors.Join(t.err, err)
}

// readTrace reads all notes, in the order of At. A last line that a kill cut
// short is left out.
func readTrace(path string) ([]crashNote, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	defer f.Close()
	var out []crashNote
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		var n crashNote
		if err == nil {
			err = json.Unmarshal(line, &n)
		}
		if err != nil {
			return nil, fmt.Errorf("read trace: %w", err)
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b crashNote) int { return a.At - b.At })
	return out, nil
}
