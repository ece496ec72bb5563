package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"fieldpost/edge"
	"fieldpost/edge/dial"
	"fieldpost/queue"
)

// ErrReal: a line of a real board can't be driven from here. It is an
// edge.ErrRefused too.
var ErrReal = fmt.Errorf("%w: only an input of the simulated board can be driven", edge.ErrRefused)

// emitter takes what devices report. *edge.Pump is one.
type emitter interface {
	// EmitWith reacts first, then queues the event and its rows for one flush. It
	// never blocks.
	EmitWith(ev edge.Event, cause *edge.Ticket, rows ...queue.Row) *edge.Ticket
	// Commit stores rows and waits for the flush.
	Commit(ctx context.Context, rows ...queue.Row) error
}

// rows reads what was stored. *queue.Store is one.
type rows interface {
	Get(table, key string) ([]byte, bool)
	Each(table, from string, fn func(key string, value []byte) bool) error
}

// How ports and connections are opened.
type (
	serialOpener = func(port string, mode SerialMode) (SerialPort, error)
	dialFunc     = func(ctx context.Context, network, addr string) (net.Conn, error)
)

// SourceOptions say what devices there are and where their reports go. Specs,
// Pump, Rows and Clock are needed.
type SourceOptions struct {
	Specs   []Spec
	Own     []OwnLine // lines that no device may have
	Pump    emitter
	Rows    rows
	Clock   Clock
	Lookup  Lookup               // nil: gpioreg.ByName
	Missing func(edge.Pin) error // why Lookup does not find a line, nil where it does now; may be nil
	Buses   Buses                // where the I2C and SPI buses are; the zero value: periph's registries
	Files   Files                // how the kernel's small files are read and written; the zero value: as files
	Serial  serialOpener         // nil: OpenSerial
	Dial    dialFunc             // to hosts; nil: edge/dial's, which asks no proxy
	Drivers []Driver             // nil: Drivers()

	// Uplinks tells how the uplinks are, for an output with offline; UplinkNames are their
	// names. nil: there are none.
	Uplinks     func() []edge.UplinkStatus
	UplinkNames []string

	Safe string       // not "": a safe start, and why; see Source.Resume
	Root string       // where proc and sys are; "" is "/"
	Twin *Twin        // what is simulated of the world, and its chance; nil: nothing. With it the machine has no part
	Log  *slog.Logger // nil: discard
}

// Source runs the devices.
type Source struct {
	opt      SourceOptions
	fleet    atomic.Pointer[fleet]
	buses    *buses
	locks    *interlocks
	heard    *heard
	commands *commandLog
	desk     passedDesk
	safe     safety

	ran   chan struct{}   // closed when Run has started the devices
	begun func()          // closes it
	turn  chan struct{}   // has a token while devices are started, swapped or resumed; guards the rest
	ctx   context.Context // of Run; nil before it and once it is over
	wg    sync.WaitGroup  // of the devices that run
}

// NewSource makes the devices; nothing is touched before Run. It fails with a
// *DeviceError where a driver is unknown, refuses its options, two devices use one line,
// or one of another device that has no such line.
func NewSource(opt SourceOptions) (*Source, error) {
	if opt.Lookup == nil {
		opt.Lookup = gpioreg.ByName
	}
	if opt.Drivers == nil {
		opt.Drivers = Drivers()
	}
	opt.Twin.apart(&opt)
	if opt.Root == "" {
		opt.Root = "/"
	}
	if opt.Serial == nil {
		opt.Serial = OpenSerial
	}
	if opt.Dial == nil {
		opt.Dial = (&dial.Dialer{}).DialContext
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{opt: opt, buses: newBuses(opt.Buses, opt.Files), desk: passedDesk{all: map[string]*passed{}}, ran: make(chan struct{}), turn: make(chan struct{}, 1)}
	s.begun = sync.OnceFunc(func() { close(s.ran) })
	s.locks, s.heard = &interlocks{outputs: s.group}, newHeard(&s.opt, s.asksOffline)
	s.safe.begin(opt.Safe)
	held, err := holdOwn(opt.Own)
	if err != nil {
		return nil, err
	}
	links := newModbusLinks()
	f, errs := muster(opt.Specs, held, opt.UplinkNames, func(spec Spec) (*runner, error) { return s.newRunner(spec, links) })
	if len(errs) > 0 {
		return nil, errs[0]
	}
	s.fleet.Store(f)
	log, err := loadCommandLog(opt.Rows)
	if err != nil {
		return nil, err
	}
	s.commands = log
	return s, nil
}

// now are the devices that there are.
func (s *Source) now() *fleet { return s.fleet.Load() }

// newRunner makes one device.
func (s *Source) newRunner(spec Spec, links *modbusLinks) (*runner, error) {
	for _, d := range s.opt.Drivers {
		if d.Name != spec.Driver {
			continue
		}
		log, held, tap := s.opt.Log.With("device", spec.Name), newHeldLines(), newTap()
		env := Env{Name: spec.Name, Line: s.liner(spec, held, tap), Clock: s.opt.Clock, Root: s.opt.Root, Safe: s.safe.on, Log: log,
			Serial: s.opt.Serial, Dial: s.opt.Dial, modbus: links, locks: s.locks, heard: s.heard,
			I2C: func(bus string) (I2CBus, error) { return s.buses.i2c(bus, spec.Name) },
			SPI: func(port string, f physic.Frequency, mode spi.Mode, bits int) (SPIConn, error) {
				return s.buses.spi(port, spec.Name, f, mode, bits)
			},
			Files: func(bus string) *KernelFiles { return s.buses.kernelFiles(bus, spec.Name) }}
		dev, err := s.opt.Twin.device(spec, env, d)
		if err != nil {
			return nil, err
		}
		out := &Outlet{spec: spec, pump: s.opt.Pump, rows: s.opt.Rows, clock: s.opt.Clock, tap: tap, status: status{status: "starting"}}
		return &runner{spec, &post{dev: dev, out: out, held: held, tap: tap, twin: s.opt.Twin, log: log}}, nil
	}
	return nil, fmt.Errorf("there is no driver %q", spec.Driver)
}

// liner requests lines on behalf of a device.
func (s *Source) liner(spec Spec, held *heldLines, tap *tap) func(edge.Pin, LineConfig) (Line, error) {
	o := opener{s.opt.Lookup, s.opt.Missing, func() int64 { return s.opt.Clock.Stamp().Mono }}
	return func(pin edge.Pin, cfg LineConfig) (Line, error) {
		cfg.Consumer = consumerPrefix + spec.Name
		if cfg.Park != "" {
			// What a device stored of a line is of no use to another driver.
			cfg.Park = spec.Driver + "/" + cfg.Park
		}
		line, given, err := s.open(o, pin, cfg)
		switch {
		case err == nil:
			held.add(line)
			line = tap.wrap(pin, cfg, line)
		case !given:
			held.refuse(err)
		}
		return line, err
	}
}

// open requests a line of the board or of another device, which is a given one.
func (s *Source) open(o opener, pin edge.Pin, cfg LineConfig) (l Line, given bool, err error) {
	if g, line := s.now().giver(pin); g != nil {
		if err := cfg.check(); err != nil {
			return nil, true, err
		}
		l, err = g.request(line, cfg)
		return l, true, err
	}
	l, err = o.open(pin, cfg)
	return l, false, err
}

// Lines are the pins of all devices on the board itself.
func (s *Source) Lines() []edge.Pin { return s.now().lines() }

// Run runs all devices until ctx is done and they have left their hardware
// safe. It returns nil.
func (s *Source) Run(ctx context.Context) error {
	s.turn <- struct{}{}
	s.ctx = ctx
	s.heard.name(s.opt.UplinkNames)
	s.heard.poll() // before a device asks
	s.wg.Go(func() { s.heard.run(ctx) })
	for _, r := range s.now().all {
		s.begin(r)
	}
	<-s.turn
	s.begun()
	<-ctx.Done()
	s.turn <- struct{}{} // a reload starts nothing from here on
	s.ctx = nil
	<-s.turn
	s.wg.Wait()
	return nil
}

// Devices is the state of all devices, by name.
func (s *Source) Devices() []edge.DeviceStatus {
	f := s.now()
	all := make([]edge.DeviceStatus, 0, len(f.all))
	for _, r := range f.all {
		all = append(all, r.status())
	}
	return all
}

// Device is the state of one.
func (s *Source) Device(name string) (edge.DeviceStatus, bool) {
	r, ok := s.now().byName[name]
	if !ok {
		return edge.DeviceStatus{}, false
	}
	return r.status(), true
}

// Pins is the 40-pin header.
func (s *Source) Pins() []edge.PinStatus {
	device := map[edge.Pin]string{}
	for _, r := range s.now().all {
		for _, p := range r.pins() {
			device[p] = r.spec.Name
		}
	}
	all := make([]edge.PinStatus, 0, 40)
	for n := 1; n <= 40; n++ {
		name := headerPins[n]
		p := edge.PinStatus{Number: n, Name: name, Function: "power"}
		if name == "GND" {
			p.Function = "ground"
		}
		if isLine(name) {
			s.describe(&p)
			p.Device = device[edge.Pin(name)]
		}
		all = append(all, p)
	}
	return all
}

// describe fills in what the chip tells of a line, without touching it: reading
// an output through periph can turn it into an input (FACTS.md 1.3).
func (s *Source) describe(p *edge.PinStatus) {
	p.Function = "absent"
	pin, ok := find(s.opt.Lookup, edge.Pin(p.Name)).(informer)
	if !ok {
		return
	}
	info, err := pin.Info()
	if err != nil {
		return
	}
	p.Function, p.Level, p.Owner = "in", info.Level, info.Consumer
	if info.Output {
		p.Function = "out"
	}
}

// driver is a chip whose inputs can be driven from outside: the simulated board.
type driver interface {
	drive(offset int, level *bool) error
}

// Drive holds an input of the simulated board at a physical level. It is ErrReal
// on a real one, edge.ErrAbsent where there is no such line, edge.ErrRefused on
// an output.
func (s *Source) Drive(pin edge.Pin, level bool) error {
	p := find(s.opt.Lookup, pin)
	if p == nil {
		return absentError("drive "+string(pin), nil)
	}
	if h, ok := p.(*linePin); ok {
		if d, ok := h.chip.(driver); ok {
			err := d.drive(h.offset, &level)
			if errors.Is(err, unix.EPERM) {
				return fmt.Errorf("%w: %w", edge.ErrRefused, err)
			}
			return err
		}
	}
	return fmt.Errorf("drive %s: %w", pin, ErrReal)
}
