package localapi

import (
	"context"
	"time"

	"fieldpost/edge"
)

// feedPage is how many events a feed reads at once: few, so that a client that
// is slow to take them holds little.
const feedPage = 128

// skippedMost is how many numbers a feed passes over before it says how far it is.
const skippedMost = 1000

// sink takes what a feed reads. Its methods block while the client is slow, and
// give an error when it is too slow or gone.
type sink interface {
	event(ev *edge.Event, after edge.Position) error
	at(after edge.Position) error    // everything up to here was looked at
	reset(after edge.Position) error // the position asked for is of a lost past: it goes on here
	beat() error                     // nothing happened for a while
	flush() error                    // the log has ended, for now
}

// feed reads the log from a position on, for ever: first what is there, then
// what comes.
type feed struct {
	log   eventLog
	query edge.Query
	out   sink
	every time.Duration // the longest silence
	me    *client

	told edge.Position // the last position that the client was told
}

// run blocks until ctx is done, the client is gone or the log can't be read.
func (f *feed) run(ctx context.Context) error {
	watch := f.log.Watch()
	defer watch.Stop()
	beat := time.NewTicker(f.every)
	defer beat.Stop()
	f.told = f.query.After
	f.query.Limit = feedPage
	for ctx.Err() == nil {
		page, err := f.log.Read(f.query)
		if err != nil {
			return err
		}
		if err := f.deliver(&page); err != nil {
			return err
		}
		if !page.End {
			continue
		}
		if err := f.out.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-watch.C:
		case <-beat.C:
			if err := f.beat(); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver writes a page and moves on behind it.
func (f *feed) deliver(page *edge.EventPage) error {
	if page.Reset {
		f.told = f.before(page)
		if err := f.out.reset(f.told); err != nil {
			return err
		}
	}
	for i := range page.Events {
		ev := &page.Events[i]
		if ev.Hole == nil { // a gap has the position of the event before it
			f.told = f.position(ev)
		}
		if err := f.out.event(ev, f.told); err != nil {
			return err
		}
		f.me.sent.Add(1)
	}
	f.query.After = page.Next
	f.me.reads.Store(&reading{f.query.Names, f.query.Rings, page.Next})
	if page.Next.Epoch != f.told.Epoch && len(page.Events) == 0 || page.Next.N >= f.told.N+skippedMost {
		return f.tell()
	}
	return nil
}

// tell says how far the feed is.
func (f *feed) tell() error {
	f.told = f.query.After
	if err := f.out.at(f.told); err != nil {
		return err
	}
	return f.out.flush()
}

func (f *feed) beat() error {
	if f.told != f.query.After {
		return f.tell()
	}
	if err := f.out.beat(); err != nil {
		return err
	}
	return f.out.flush()
}

func (f *feed) position(ev *edge.Event) edge.Position {
	if f.query.BySeq {
		return ev.SeqPosition()
	}
	return ev.Position()
}

// before is the position that a page begins after.
func (f *feed) before(page *edge.EventPage) edge.Position {
	if len(page.Events) == 0 {
		return page.Next
	}
	first := &page.Events[0]
	if first.Hole != nil {
		return edge.Position{Epoch: first.Epoch}
	}
	p := f.position(first)
	p.N--
	return p
}

// now is the position behind everything that is stored.
func (s *Server) now(q edge.Query) edge.Position {
	p := edge.Position{Epoch: s.Store.Epoch(), N: s.Store.NextN() - 1}
	if q.BySeq {
		p.N = 0
		if info, ok := s.Store.Ring(q.Rings[0]); ok {
			p.N = info.Last
		}
	}
	return p
}
