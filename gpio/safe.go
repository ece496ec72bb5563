package gpio

import "sync/atomic"

// safety says whether this is a safe start, for the commands and for the devices:
// they have their levels again before the first command is taken.
type safety struct {
	why  atomic.Pointer[string] // nil: commands are taken
	over atomic.Bool            // devices do as usual
}

func (s *safety) begin(why string) {
	if why != "" {
		s.why.Store(&why)
	}
}

// on reports whether devices keep what they drive safe.
func (s *safety) on() bool { return s.why.Load() != nil && !s.over.Load() }

// resumer is a device that has something to do when a safe start is over.
type resumer interface{ resume() }

// Safe says why no command is taken: the agent crashed too often, and what its
// devices drive is kept as their stop says. "" after a usual start.
func (s *Source) Safe() string {
	if why := s.safe.why.Load(); why != nil {
		return *why
	}
	return ""
}

// Resume ends a safe start: devices do what their boot says, and then commands are
// taken. After a usual start it does nothing.
func (s *Source) Resume() {
	if s.Safe() == "" {
		return
	}
	s.turn <- struct{}{} // a reload makes devices safe until this is over
	defer func() { <-s.turn }()
	s.safe.over.Store(true)
	for _, r := range s.now().all {
		if d, ok := r.dev.(resumer); ok {
			d.resume()
			r.out.Flush()
		}
	}
	s.safe.why.Store(nil)
}

// TakesCommands reports whether any device takes commands.
func (s *Source) TakesCommands() bool { return s.now().takesCommands() }

// TakesCommands reports whether any device of the plan takes commands.
func (p *Plan) TakesCommands() bool { return p.next.takesCommands() }

func (f *fleet) takesCommands() bool {
	for _, r := range f.all {
		if _, ok := r.dev.(Commander); ok {
			return true
		}
	}
	return false
}
