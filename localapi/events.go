package localapi

import (
	"fmt"
	"strconv"

	"fieldpost/edge"
	"fieldpost/queue"
)

// eventsAnswer is a page of events.
type eventsAnswer struct {
	events []edge.Event
	next   edge.Position
	more   bool // there is more: next is given
	at     edge.Position
	reset  bool
}

// AppendJSON writes {"events":[...],"next":"...","at":"...","reset":true}.
func (a eventsAnswer) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"events":`...)
	dst = appendEvents(dst, a.events)
	if a.more {
		dst = appendPosition(append(dst, `,"next":`...), a.next)
	}
	dst = appendPosition(append(dst, `,"at":`...), a.at)
	if a.reset {
		dst = append(dst, `,"reset":true`...)
	}
	return append(dst, '}')
}

func appendEvents(dst []byte, evs []edge.Event) []byte {
	dst = append(dst, '[')
	for i := range evs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = evs[i].AppendJSON(dst)
	}
	return append(dst, ']')
}

func appendPosition(dst []byte, p edge.Position) []byte {
	return append(append(append(dst, '"'), p.String()...), '"')
}

func getEvents(s *Server, r *request) (any, error) {
	q, err := eventsQuery(r.URL.Query(), r.who)
	if err != nil {
		return nil, err
	}
	return s.readPage(q)
}

// readStep is how many events are read at once: one may have 128 kB, and a page
// is cut by bytes only after it was read.
const readStep = 128

// readPage reads a page a step at a time, and ends it early where its events are
// large or hard to find.
func (s *Server) readPage(q edge.Query) (eventsAnswer, error) {
	var all edge.EventPage
	step, size := q, 0
	for {
		step.Limit = min(readStep, q.Limit-len(all.Events))
		page, err := s.Log.Read(step)
		if err != nil {
			return eventsAnswer{}, err
		}
		all.Events = append(all.Events, page.Events...)
		all.Next, all.End, all.Reset = page.Next, page.End, all.Reset || page.Reset
		for i := range page.Events {
			size += eventSize(&page.Events[i])
		}
		if page.End || len(page.Events) < step.Limit || len(all.Events) >= q.Limit || size >= s.lim.page {
			return s.pageAnswer(q, all), nil
		}
		step.After = page.Next
		if q.Desc {
			step.After, step.Before = q.After, page.Next
		}
	}
}

// eventSize is about how many bytes an event takes in an answer.
func eventSize(ev *edge.Event) int { return len(ev.Data) + len(ev.Name) + 256 }

// pageAnswer cuts a page where it has more bytes than an answer should have; it
// goes on behind the last event that is left.
func (s *Server) pageAnswer(q edge.Query, page edge.EventPage) eventsAnswer {
	a := eventsAnswer{events: page.Events, next: page.Next, at: page.Next, more: !page.End, reset: page.Reset}
	size := 0
	for i := range page.Events {
		size += eventSize(&page.Events[i])
		if size < s.lim.page || i+1 == len(page.Events) || page.Events[i].Hole != nil {
			continue
		}
		a.events, a.more = page.Events[:i+1], true
		a.next = page.Events[i].Position()
		if q.BySeq {
			a.next = page.Events[i].SeqPosition()
		}
		a.at = a.next
		break
	}
	return a
}

func getEvent(s *Server, r *request) (any, error) {
	ring := r.PathValue("ring")
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil || seq == 0 {
		return nil, badRequest("seq %q is not a number from 1 on", r.PathValue("seq"))
	}
	if err := checkRing(ring, r.who); err != nil {
		return nil, err
	}
	ev, err := s.Log.One(ring, seq)
	if err != nil {
		return nil, err
	}
	if !r.who.sees(ev.Name) { // in the words of one that is not there
		return nil, fmt.Errorf("record %d of ring %q: %w", seq, ring, queue.ErrNotFound)
	}
	return &ev, nil
}
