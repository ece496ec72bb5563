package config

import (
	"maps"
	"slices"
	"strings"

	"fieldpost/edge"
)

// The words of when_full.
const (
	Evict = "evict" // the oldest go: the default
	Thin  = "thin"  // the oldest samples become rows of a minute, and these rows of an hour
)

// The rings of rows have a share of the bounds of the ring they come from, and
// reach back further.
const (
	rowsShare  = 4
	minutesAge = 10
	hoursAge   = 100
)

// thinned checks the rings that thin, and bounds those that their rows go to.
// What the user says of such a ring counts; each of its bounds that he leaves out
// is derived.
func (l *loader) thinned(s *StoreConfig) {
	for _, name := range slices.Sorted(maps.Keys(s.Rings)) {
		r := s.Rings[name]
		p := path{"store", "rings", name, "when_full"}
		if r.WhenFull != Thin || !l.mayThin(s, name, p) {
			continue
		}
		minutes, hours := edge.ThinRings(name)
		if what, _ := nameProblem("ring", hours); what != "" {
			l.bad(p, p.String()+": its rows would go to "+hours+", which is no name of a ring", "give the ring a shorter name")
			continue
		}
		l.rows(s, minutes, r, minutesAge, Thin)
		l.rows(s, hours, r, hoursAge, Evict)
	}
	for name, r := range s.Rings {
		if r.WhenFull == "" {
			r.WhenFull = Evict
			s.Rings[name] = r
		}
	}
}

// mayThin refuses rings that hold no samples: nothing of them would be summed up.
func (l *loader) mayThin(s *StoreConfig, name string, p path) bool {
	switch {
	case name == edge.RingEvents || edge.Guarded(name):
		l.bad(p, p.String()+": "+name+" holds no samples, and nothing else is thinned", "take it out: its oldest events go first")
		return false
	case !s.Reserved(name):
		return true
	}
	if of, _ := rowsOf(name); name == of+"-1h" {
		l.bad(p, p.String()+": rows of an hour are not thinned further", "take it out: its oldest rows go first")
	}
	return false // that of the minutes: it is done with the ring it comes from
}

// rows bounds a ring of rows.
func (l *loader) rows(s *StoreConfig, name string, of RingConfig, older edge.Duration, whenFull string) {
	r := s.Rings[name]
	if r.Keep == 0 && of.Keep > 0 {
		r.Keep = max(of.Keep/rowsShare, 1)
	}
	if r.Size == 0 && of.Size > 0 {
		r.Size = max(of.Size/rowsShare, 1)
	}
	if r.Age == 0 {
		r.Age = longer(of.Age, older)
	}
	if r.WhenFull == "" {
		r.WhenFull = whenFull
	}
	s.Rings[name] = r
}

// rowRings refuses devices whose events would stand among rows.
func (l *loader) rowRings(cfg *Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Devices)) {
		if d := cfg.Devices[name]; d != nil && cfg.Store.Reserved(d.Ring) {
			p := path{"devices", name, "ring"}
			of, _ := rowsOf(d.Ring)
			l.bad(p, p.String()+": only the agent itself writes into "+d.Ring+", the rows of "+of, "name another ring")
		}
	}
}

// rowUplinks warns of uplinks that are told to send a ring, and not its rows.
func (l *loader) rowUplinks(cfg *Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Uplinks)) {
		u := cfg.Uplinks[name]
		if u == nil {
			continue
		}
		for _, ring := range u.Rings {
			if minutes, hours := edge.ThinRings(ring); cfg.Store.Rings[ring].WhenFull == Thin && !slices.Contains(u.Rings, minutes) && !cfg.Store.Reserved(ring) {
				p := path{"uplinks", name, "rings"}
				l.warn(l.at(p).String() + ": " + p.String() + " has " + ring + " and not " + minutes + " and " + hours + ": what is summed up while there is no line is not sent")
			}
		}
	}
}

// longer is a duration many times over; 0, no bound, where that is beyond any.
func longer(d, times edge.Duration) edge.Duration {
	if d > 1<<62/times {
		return 0
	}
	return d * times
}

// rowsOf is the ring whose rows would go to one of this name.
func rowsOf(name string) (of string, ok bool) {
	if of, ok = strings.CutSuffix(name, "-1m"); !ok {
		of, ok = strings.CutSuffix(name, "-1h")
	}
	return of, ok
}

// Reserved reports whether the rows of a ring that thins go to this one, so that
// nobody else may write into it.
func (s *StoreConfig) Reserved(ring string) bool {
	of, ok := rowsOf(ring)
	return ok && s.Rings[of].WhenFull == Thin
}
