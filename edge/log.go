package edge

import (
	"time"

	"fieldpost/queue"
)

// Log reads events out of a store.
type Log struct {
	store *queue.Store
	clock *Clock
	agent string
}

// NewLog reads s with the times of c, as the events of agent.
func NewLog(s *queue.Store, c *Clock, agent string) *Log { return &Log{s, c, agent} }

// Query says what to read.
type Query struct {
	Rings  []string // nil: all but the guarded ones
	BySeq  bool     // positions are seqs of Rings[0], the one ring
	After  Position // read what is later; zero: from the oldest
	Before Position // read what is earlier; zero: up to the newest
	Limit  int      // events; 100 where it is 0, at most 1,000
	Desc   bool     // newest first
	Names  []string // patterns, * matches any run; nil: all
	Scope  []string // a key's names, the same patterns; nil: all
	Kinds  []Kind   // nil: all
	Since  time.Time
	Until  time.Time
}

// EventPage is what one read gave.
type EventPage struct {
	Events []Event
	Next   Position // to go on from
	End    bool     // nothing more was stored
	Reset  bool     // the position was of a lost past: this page begins after it
}

// Read reads a page.
func (l *Log) Read(q Query) (EventPage, error) { return EventPage{}, queue.ErrClosed }

// Ring reads one ring in the order of seq, with gaps in their places.
func (l *Log) Ring(ring string, after uint64, max queue.Max) (evs []Event, next uint64, end bool, err error) {
	return nil, after, true, queue.ErrClosed
}

// One reads one event.
func (l *Log) One(ring string, seq uint64) (Event, error) { return Event{}, queue.ErrClosed }

// Watch gives a token after each flush.
func (l *Log) Watch() *queue.Watch { return l.store.Watch() }

// MatchName reports whether a name fits a pattern.
func MatchName(pattern, name string) bool { return pattern == name }
