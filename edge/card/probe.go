package card

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Measures are what Probe measured. A nil Timing could not be measured there.
type Measures struct {
	Flush4k   *Timing `json:"flush_4k"`   // a block of a pre-written file, and fdatasync: what a journal does
	Flush64k  *Timing `json:"flush_64k"`  // the same with a run of 64 KiB
	Flush256k *Timing `json:"flush_256k"` // and of 256 KiB
	Busy      *Timing `json:"flush_4k_busy"`
	Direct    *Timing `json:"write_4k_direct"` // past the page cache, without a flush
	NewFile   *Timing `json:"new_file"`        // made, written, flushed, and its folder flushed

	Sequential float64 `json:"sequential_bytes_per_second"` // with one flush at the end
	ReadBack   string  `json:"read_back"`                   // "same", "same, through the cache" or "different"

	Written int64 `json:"written"` // bytes, by all steps

	// The flushes of Flush4k that were asked for, and that each device below took
	// meanwhile, those of others among them.
	Asked int               `json:"flushes_asked"`
	Taken map[string]uint64 `json:"flushes_taken"`
}

// amounts are the sizes and counts of the steps. Together they write less than
// 48 MB, and those of a quick probe less than 16.
type amounts struct {
	flush4k, flush64k, flush256k, direct, files, busy int
	sequential, readBack                              int64
	within                                            time.Duration // of each step
}

func amountsOf(quick bool) amounts {
	if quick {
		return amounts{flush4k: 200, flush64k: 16, flush256k: 4, direct: 100, files: 10, busy: 16, sequential: 2 << 20, readBack: 1 << 20, within: time.Second}
	}
	return amounts{flush4k: 1000, flush64k: 64, flush256k: 24, direct: 256, files: 50, busy: 64, sequential: 8 << 20, readBack: 4 << 20, within: 3 * time.Second}
}

// Probe measures a file system with files of its own in one folder.
type Probe struct {
	Dir      string // an empty folder; what is made in it is removed again step by step
	Place    *Place // where the folder is
	Quick    bool
	Progress func(step string) // called before each step; may be nil

	written atomic.Int64
}

// step is one measurement. It removes what it makes.
type step struct {
	name string
	run  func(*Probe, context.Context, amounts, *Measures) error
}

// steps is the table of what is measured, in order.
func steps() []step {
	return []step{
		{"flush of 4 kB", (*Probe).flush4k},
		{"flush of 64 kB", (*Probe).flush64k},
		{"flush of 256 kB", (*Probe).flush256k},
		{"write without a flush", (*Probe).direct},
		{"flush beside other writes", (*Probe).busy},
		{"new files", (*Probe).files},
		{"long write", (*Probe).sequential},
		{"read back", (*Probe).readBack},
	}
}

// Run measures all, for at most 30 s, a quick one for 10. It blocks in the disk's
// own calls, which ctx does not interrupt.
func (p *Probe) Run(ctx context.Context) (*Measures, error) {
	m := &Measures{Taken: map[string]uint64{}}
	for _, s := range steps() {
		if p.Progress != nil {
			p.Progress(s.name)
		}
		if err := s.run(p, ctx, amountsOf(p.Quick), m); err != nil {
			return nil, fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	m.Written = p.written.Load()
	return m, nil
}
