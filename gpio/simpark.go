package gpio

// goesOn reports whether a request can go on with what is parked on the line, as on
// the kernel's board: an output has a level to keep, whoever asks; the edges of an
// input mean something to the device that parked it, and to no other.
func (l *simLine) goesOn(cfg LineConfig) bool {
	return l.req.cfg.Output && cfg.Output || cfg.Park != "" && l.req.cfg.Park == cfg.Park
}

// unpark releases what is parked on a line. The caller holds b.mu.
func (b *SimBoard) unpark(l *simLine) {
	l.req.stop()
	l.req = nil
	b.settle(l)
}

// forget releases a line that a device parked which is there no more.
func (b *SimBoard) forget(offset int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := &b.lines[offset]; l.req != nil && l.req.owner == nil {
		b.unpark(l)
	}
}
