package gpiotest

import (
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// ForeignPin is a pin of some other periph driver: it has no NextEdge.
type ForeignPin struct {
	gpio.PinIO // refuses what is not below

	mu    sync.Mutex
	name  string
	level gpio.Level
	edges chan struct{}
	rush  bool
}

// NewForeignPin makes one.
func NewForeignPin(name string) *ForeignPin {
	return &ForeignPin{PinIO: gpio.INVALID, name: name, edges: make(chan struct{}, 16)}
}

// Drive changes the level; told says whether WaitForEdge notices.
func (p *ForeignPin) Drive(level, told bool) {
	p.mu.Lock()
	p.level = gpio.Level(level)
	p.mu.Unlock()
	if told {
		p.edges <- struct{}{}
	}
}

// Rush makes WaitForEdge return false at once, as some drivers do on an error.
func (p *ForeignPin) Rush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rush = true
}

// Name is the name.
func (p *ForeignPin) Name() string { return p.name }

// In sets the level to that of the pull.
func (p *ForeignPin) In(pull gpio.Pull, _ gpio.Edge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = pull == gpio.PullUp
	return nil
}

// Out sets the level.
func (p *ForeignPin) Out(l gpio.Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = l
	return nil
}

// Read is the level.
func (p *ForeignPin) Read() gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.level
}

// WaitForEdge waits for a told change.
func (p *ForeignPin) WaitForEdge(timeout time.Duration) bool {
	p.mu.Lock()
	rush := p.rush
	p.mu.Unlock()
	if rush {
		return false
	}
	select {
	case <-p.edges:
		return true
	case <-time.After(timeout):
		return false
	}
}
