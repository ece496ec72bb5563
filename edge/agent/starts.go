package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// An agent that crashed manyCrashes times in crashSpan starts safe. It does
// as usual again after a start that followed a stop in good order, or once it ran for
// calmSpan.
const (
	manyCrashes = 3
	crashSpan   = 5 * time.Minute
	calmSpan    = 10 * time.Minute
)

// starts remembers, beside the store, whether the last run ended in good order, and
// when earlier ones did not. Any end but an orderly one is a crash, a power cut too:
// a pump that pulls the supply down looks the same.
//
// A board has no clock that counts while it is off, so times are of CLOCK_BOOTTIME.
// Of another boot it is known only that it was before this one: what happened in it
// was as long ago as this boot is old, at least. A run that lasts for crashSpan
// forgets the crashes before it, so that the cuts of a year don't come together.
type starts struct {
	file string
	row  startsRow // of this run, as it is on the disk while it lasts
}

// startsRow is the file. It is there while a run lasts, and after a crash.
type startsRow struct {
	Boot    string    `json:"boot"`
	Up      float64   `json:"up"`                // CLOCK_BOOTTIME at the run's start, in seconds
	Crashes []float64 `json:"crashes,omitempty"` // how many seconds before that, at least; oldest first
	Safe    bool      `json:"safe,omitempty"`    // the run is a safe start
}

// uptime is CLOCK_BOOTTIME, in seconds.
func uptime(b edge.Board) float64 {
	up := time.Duration(b.Mono())
	if b.Slept != nil {
		up += b.Slept()
	}
	return up.Seconds()
}

// readStarts finds out how the runs before this one ended. A file that can't be read
// is one crash: a run that ended in order leaves none.
func readStarts(file string, b edge.Board) (*starts, error) {
	s := &starts{file: file, row: startsRow{Boot: b.BootID, Up: uptime(b)}}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var last startsRow
	if err == nil {
		err = json.Unmarshal(raw, &last)
	}
	passed := s.row.Up
	if last.Boot == b.BootID {
		passed -= last.Up
	}
	for _, ago := range append(last.Crashes, -passed) { // the last run's end: now, or a little before
		if ago += passed; ago >= 0 && ago <= crashSpan.Seconds() {
			s.row.Crashes = append(s.row.Crashes, ago)
		}
	}
	s.row.Crashes = s.row.Crashes[max(0, len(s.row.Crashes)-manyCrashes):]
	s.row.Safe = last.Safe || len(s.row.Crashes) == manyCrashes
	return s, err
}

// why is the reason for a safe start, "" where this is none.
func (s *starts) why() string {
	if !s.row.Safe {
		return ""
	}
	return fmt.Sprintf("this is a safe start, since the agent crashed or lost its power %d times within %.0f minutes: outputs are kept as their stop says and no command is taken, for %.0f minutes or until \"systemctl restart fieldpost\"; \"journalctl -u fieldpost\" says why",
		manyCrashes, crashSpan.Minutes(), calmSpan.Minutes())
}

// calm is how long this run has to last until what was before no longer counts; 0
// where nothing was.
func (s *starts) calm() time.Duration {
	switch {
	case s.row.Safe:
		return calmSpan
	case len(s.row.Crashes) > 0:
		return crashSpan
	}
	return 0
}

// begin notes that a run began. It returns when a power cut can't take it back: what
// comes next may cause one.
func (s *starts) begin() error {
	raw, err := json.Marshal(s.row)
	if err != nil {
		return err
	}
	return queue.WriteFile(s.file, append(raw, '\n'))
}

// forget notes that the crashes before this run no longer count.
func (s *starts) forget() error {
	s.row.Crashes, s.row.Safe = nil, false
	return s.begin()
}

// end notes that this run ends in good order.
func (s *starts) end() error {
	if err := os.Remove(s.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return queue.SyncFolder(filepath.Dir(s.file))
}
