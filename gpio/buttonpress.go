package gpio

// presses are those of a button that it is not sure of yet. Times are on
// CLOCK_MONOTONIC, 0 where there is none.
type presses struct {
	Down  int64 `json:"down,omitempty"` // when the press that is held now began
	Long  bool  `json:"long,omitempty"` // it was told as long
	First click `json:"first,omitzero"` // one that is over, and may be half of a double
}

// click is a press that is over.
type click struct {
	Down int64 `json:"down"`
	Up   int64 `json:"up"`
}

// due is when time alone decides, if no edge comes before.
func (p *presser) due() (mono int64, ok bool) {
	switch {
	case p.Down != 0 && !p.Long && p.long > 0:
		return p.Down + p.long, true
	case p.Down == 0 && p.First.Up != 0:
		return p.First.Up + p.double, true
	}
	return 0, false
}

// advance decides what is sure when no edge came before mono.
func (p *presser) advance(mono int64) {
	at, ok := p.due()
	if !ok || mono < at {
		return
	}
	p.single()
	if p.Down != 0 {
		p.Long = true
		p.tell("long", at, click{})
	}
}

// down is the begin of a press.
func (p *presser) down(mono int64) {
	if p.long == 0 && p.double == 0 {
		p.tell("press", mono, click{})
		return
	}
	p.Down = mono
}

// up is the end of a press; of one whose begin is not known it says nothing,
// unless that was told.
func (p *presser) up(mono int64) {
	over := click{p.Down, mono}
	long := p.Long
	p.Down, p.Long = 0, false
	switch {
	case long && over.Down != 0:
		p.tell("release", mono, over)
	case long:
		p.tell("release", mono, click{})
	case over.Down == 0:
	case p.First.Up != 0:
		p.First = click{}
		p.tell("double", mono, click{})
	case p.double > 0:
		p.First = over
	default:
		p.tell("press", mono, over)
	}
}

// single tells that the first press was no half of a double.
func (p *presser) single() {
	if first := p.First; first.Up != 0 {
		p.First = click{}
		p.tell("press", first.Up, first)
	}
}

// broken tells a loss. What is sure of the presses before it is told, and a long
// gets its release; the rest is forgotten.
func (p *presser) broken(count uint64, cause string, mono int64) {
	p.single()
	p.lose(count, cause)
	long := p.Long
	p.Down, p.Long = 0, false
	if long {
		p.tell("release", mono, click{})
	}
}

// resume tells what became of the presses of another request, whose edges nobody
// will see. Only in the same boot a press is still worth its name.
func (p *presser) resume(old buttonRow) {
	p.presses = old.presses
	lost := uint64(0)
	if p.First.Up != 0 && old.Boot != p.boot {
		lost++
		p.First = click{}
	}
	if p.Down != 0 && !p.Long {
		lost++
	}
	p.Down = 0 // it may be another press by now
	p.single()
	if lost > 0 {
		p.lose(lost, "restart")
	}
	if p.Long && !p.row.Value {
		p.Long = false
		p.tell("release", 0, click{})
	}
}
