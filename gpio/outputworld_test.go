package gpio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
	"fieldpost/queue"
)

// A world is a simulated board, a disk and a clock that outlive the processes that run
// on them. It writes down each change of an output's line, and judge.go's rules see it
// while it happens. One mutex orders all that touches a line or the disk, so that a
// process can die between any two of them.
type world struct {
	t     *testing.T
	seed  uint64
	clock *bench.Clock
	board *gpio.SimBoard
	keeps bool // the kernel leaves a released line at its level; else its pull decides

	mu     sync.Mutex // guards all below, and what the outputs know
	rows   map[string]map[string][]byte
	stored uint64 // entries
	full   bool   // the disk
	outs   []*out
	byName map[string]*out
	proc   *process // nil between processes
	debts  []debt
	links  []*upstream
	slack  time.Duration // what was heard may be so much earlier: it is durable now and then
	rules  map[string]func(*process, *tale)
	script []string

	more   []gpio.Spec               // devices that are no outputs of these rules
	files  func(*process) gpio.Files // what they read and write; nil: nothing
	root   string
	tells  func(*edge.Event) // hears of them
	faults []string
}

// tale is an event that a device told.
type tale struct {
	ev     edge.Event
	ticket *edge.Ticket
	data   struct {
		Value json.RawMessage
		ID    string
		Verb  string
		Asked json.RawMessage
		Done  *bool
		Why   string
	}
}

// process is an agent's life. Once it is dead nothing that it does reaches the world.
type process struct {
	w        *world
	source   *gpio.Source
	pump     *edge.Pump
	safe     bool
	dead     bool
	fuse     int  // operations until it is killed; 0: none
	after    bool // the last of them is still done
	stops    func()
	lines    []*heldLine
	ending   bool        // in good order
	swapping bool        // a reload goes on
	over     queue.Stamp // a safe start was over then
	polls    int
	filled   bool // the disk was full
	began    queue.Stamp
}

func newWorld(t *testing.T, seed uint64) *world {
	clock := bench.NewClock()
	w := &world{t: t, seed: seed, clock: clock, board: gpio.NewSimBoard(gpio.SimOptions{Mono: clock.Mono}),
		rows: map[string]map[string][]byte{}, byName: map[string]*out{}, rules: map[string]func(*process, *tale){},
		links: []*upstream{{name: "cloud", heard: true}, {name: "lab", heard: true}}}
	return w
}

// hold does something that no process may see half done.
func (w *world) hold(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// say adds a line to the script that a fault prints.
func (w *world) say(format string, a ...any) {
	w.script = append(w.script, fmt.Sprintf("%12.3fs ", float64(w.clock.Mono())/1e9)+fmt.Sprintf(format, a...))
}

// fault is a broken rule.
func (w *world) fault(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	w.faults = append(w.faults, text)
	w.say("FAULT %s", text)
}

// op does something for a process, unless it is dead, or dies by it.
func (p *process) op(do func()) bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return false
	}
	if p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			if p.after {
				do()
			}
			p.die()
			return false
		}
	}
	do()
	return true
}

// die is what the kernel does when a process is killed. The caller holds w.mu.
func (p *process) die() {
	p.dead = true
	p.w.say("killed")
	for _, l := range p.lines {
		l.drop()
	}
}

// heldLine is a line request of a process.
type heldLine struct {
	gpio.Line
	p    *process
	o    *out
	cfg  gpio.LineConfig
	open bool
}

func (l *heldLine) Level() (level bool, err error) {
	level, err = l.Line.Level()
	if l.p.isDead() {
		return false, syscall.EBADF
	}
	return level, err
}

func (p *process) isDead() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}

func (l *heldLine) Set(level bool) (mono int64, err error) {
	if !l.p.op(func() { mono, err = l.Line.Set(level); l.p.w.moved(l.o, err) }) {
		return 0, syscall.EBADF
	}
	return mono, err
}

func (l *heldLine) Close() (err error) {
	l.p.op(func() { l.release(false) })
	return nil
}

func (l *heldLine) Park() (err error) {
	l.p.op(func() { l.release(true) })
	return nil
}

// drop is the kernel's: the process is gone. The caller holds w.mu.
func (l *heldLine) drop() { l.release(true) }

// release lets go of a line; without a process it has the level that the kernel leaves.
func (l *heldLine) release(park bool) {
	if !l.open {
		return
	}
	l.open = false
	w := l.p.w
	before, _ := w.board.Level(l.o.cfg.Pin)
	if park && l.cfg.Park != "" {
		_ = l.Line.Park()
		l.o.parked = true
	} else {
		_ = l.Line.Close()
		if w.keeps {
			_ = w.board.Drive(l.o.cfg.Pin, before)
		} else {
			_ = w.board.Undrive(l.o.cfg.Pin)
		}
	}
	w.let(l.o)
}

// wiredPin is a pin as one process sees it.
type wiredPin struct {
	periph.PinIO
	p *process
	o *out
}

// Request takes the line of the pin below.
func (f *wiredPin) Request(cfg gpio.LineConfig) (line gpio.Line, err error) {
	pin := f.PinIO.(interface {
		Request(gpio.LineConfig) (gpio.Line, error)
	})
	ok := f.p.op(func() {
		was := f.p.w.physical(f.o)
		if line, err = pin.Request(cfg); err != nil {
			return
		}
		l := &heldLine{Line: line, p: f.p, o: f.o, cfg: cfg, open: true}
		f.p.lines = append(f.p.lines, l)
		line = l
		f.p.w.requested(f.o, was)
	})
	if !ok {
		return nil, syscall.EBADF
	}
	return line, err
}

// physical is the logical level that the line has. The caller holds w.mu.
func (w *world) physical(o *out) bool {
	level, _ := w.board.Level(o.cfg.Pin)
	return level != o.cfg.ActiveLow
}

// start begins a process.
func (w *world) start(safe string, fuse int, after bool) {
	p := &process{w: w, safe: safe != "", fuse: fuse, after: after, began: w.clock.Stamp(), filled: w.full}
	w.proc = p
	w.starting(p)
	p.pump = edge.NewPump(edge.PumpOptions{Agent: "a", Store: p, Clock: edge.NewClock(edgetest.NewBoard("b1946ac9-0000-4000-8000-000000000000").Board()), React: p.react})
	var specs []gpio.Spec
	for _, o := range w.outs {
		cfg := o.cfg
		specs = append(specs, gpio.Spec{Name: o.name, Driver: "digital_out", Options: &cfg})
	}
	var err error
	var files gpio.Files
	if w.files != nil {
		files = w.files(p)
	}
	p.source, err = gpio.NewSource(gpio.SourceOptions{Specs: append(specs, w.more...), Root: w.root, Files: files, Pump: p.pump, Rows: p, Clock: w.clock, Safe: safe, Lookup: p.lookup,
		Uplinks: w.uplinks, UplinkNames: linkNames})
	if err != nil {
		w.t.Fatal(err)
	}
	devices, cancel := context.WithCancel(context.Background())
	pumps, stop := context.WithCancel(context.Background())
	var running, pumping sync.WaitGroup
	pumping.Go(func() { _ = p.pump.Run(pumps) })
	running.Go(func() { _ = p.source.Run(devices) })
	p.stops = func() {
		cancel()
		running.Wait()
		synctest.Wait() // the Pump stores what it can
		stop()
		pumping.Wait()
	}
	synctest.Wait()
}

// lookup finds the pins of outputs.
func (p *process) lookup(name string) periph.PinIO {
	pin := p.w.board.Lookup(name)
	for _, o := range p.w.outs {
		if string(o.cfg.Pin) == name && pin != nil {
			return &wiredPin{pin, p, o}
		}
	}
	return pin
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// react is what the Pump does with each event before it is stored.
func (p *process) react(ev *edge.Event, ticket *edge.Ticket) {
	w := p.w
	w.mu.Lock()
	o := w.byName[ev.Name]
	if p.dead || o == nil {
		if !p.dead && w.tells != nil {
			w.tells(ev)
		}
		w.mu.Unlock()
		return
	}
	t := &tale{ev: *ev, ticket: ticket}
	if err := json.Unmarshal(ev.Data, &t.data); err != nil {
		w.fault("%s: an event that is no JSON: %v", ev.Name, err)
	}
	o.told(t)
	rule := w.rules[ev.Name]
	w.mu.Unlock()
	if rule != nil {
		rule(p, t)
	}
}

// starting tells the rules that a process begins.
func (w *world) starting(p *process) {
	for _, u := range w.links {
		u.starting(p)
	}
	for _, o := range w.outs {
		for _, t := range o.tickets {
			select {
			case <-t.Done():
				_, err := t.Event()
				o.unsure = o.unsure || err != nil
			default:
				o.unsure = true
			}
		}
		o.unsure, o.loose = o.unsure || o.loose, false
		if o.begun && !o.safe { // a safe start leaves that open
			o.pended = o.mayBoot && o.mustBoot && !o.on
		}
		o.tickets, o.begun, o.moves, o.asked, o.acted, o.calls = nil, false, nil, nil, nil, nil
		o.held, o.away, o.mayBoot = false, p.began, false
	}
}
