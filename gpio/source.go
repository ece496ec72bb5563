package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"strings"
	"sync"

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
	Log  *slog.Logger // nil: discard
}

// Source runs the devices.
type Source struct {
	opt      SourceOptions
	runners  []*runner // sorted by name
	byName   map[string]*runner
	buses    *buses
	modbus   *modbusLinks
	locks    *interlocks
	heard    *heard
	commands *commandLog
	desk     passedDesk
	safe     safety
}

// NewSource makes the devices; nothing is touched before Run. It fails where a
// driver is unknown, refuses its options, or two devices use one line.
func NewSource(opt SourceOptions) (*Source, error) {
	if opt.Lookup == nil {
		opt.Lookup = gpioreg.ByName
	}
	if opt.Drivers == nil {
		opt.Drivers = Drivers()
	}
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
	s := &Source{opt: opt, byName: map[string]*runner{}, buses: newBuses(opt.Buses, opt.Files), modbus: newModbusLinks(), desk: passedDesk{all: map[string]*passed{}}}
	s.locks, s.heard = &interlocks{outputs: s.group}, newHeard(&s.opt)
	s.safe.begin(opt.Safe)
	held := map[edge.Pin]string{}
	for _, spec := range opt.Specs {
		r, err := s.newRunner(spec)
		if err != nil {
			return nil, fmt.Errorf("make device %s: %w", spec.Name, err)
		}
		for _, p := range r.pins() {
			if other, ok := held[p]; ok {
				return nil, fmt.Errorf("make device %s: %s is used by device %s", spec.Name, p, other)
			}
			held[p] = spec.Name
		}
		s.byName[spec.Name] = r
		s.runners = append(s.runners, r)
	}
	sort.Slice(s.runners, func(i, j int) bool { return s.runners[i].spec.Name < s.runners[j].spec.Name })
	if err := s.checkGiven(); err != nil {
		return nil, err
	}
	log, err := loadCommandLog(opt.Rows)
	if err != nil {
		return nil, err
	}
	s.commands = log
	return s, nil
}

// newRunner makes one device.
func (s *Source) newRunner(spec Spec) (*runner, error) {
	if _, ok := s.byName[spec.Name]; ok {
		return nil, errors.New("there are two of that name")
	}
	for _, d := range s.opt.Drivers {
		if d.Name != spec.Driver {
			continue
		}
		log, held := s.opt.Log.With("device", spec.Name), &heldLines{}
		env := Env{Name: spec.Name, Line: s.liner(spec, held), Clock: s.opt.Clock, Root: s.opt.Root, Safe: s.safe.on, Log: log,
			Serial: s.opt.Serial, Dial: s.opt.Dial, modbus: s.modbus, locks: s.locks, heard: s.heard,
			I2C: func(bus string) (I2CBus, error) { return s.buses.i2c(bus, spec.Name) },
			SPI: func(port string, f physic.Frequency, mode spi.Mode, bits int) (SPIConn, error) {
				return s.buses.spi(port, spec.Name, f, mode, bits)
			},
			Files: func(bus string) *KernelFiles { return s.buses.kernelFiles(bus, spec.Name) }}
		dev, err := d.New(env, spec.Options)
		if err != nil {
			return nil, err
		}
		out := &Outlet{spec: spec, pump: s.opt.Pump, rows: s.opt.Rows, clock: s.opt.Clock, status: status{status: "starting"}}
		return &runner{spec: spec, dev: dev, out: out, held: held, log: log}, nil
	}
	return nil, fmt.Errorf("there is no driver %q", spec.Driver)
}

// liner requests lines on behalf of a device.
func (s *Source) liner(spec Spec, held *heldLines) func(edge.Pin, LineConfig) (Line, error) {
	o := opener{s.opt.Lookup, s.opt.Missing, func() int64 { return s.opt.Clock.Stamp().Mono }}
	return func(pin edge.Pin, cfg LineConfig) (Line, error) {
		cfg.Consumer = "fieldpost:" + spec.Name
		if cfg.Park != "" {
			// What a device stored of a line is of no use to another driver.
			cfg.Park = spec.Driver + "/" + cfg.Park
		}
		line, err := s.open(o, pin, cfg)
		if err == nil {
			held.add(line)
		}
		return line, err
	}
}

// open requests a line of the board or of another device.
func (s *Source) open(o opener, pin edge.Pin, cfg LineConfig) (Line, error) {
	if g, line := s.giver(pin); g != nil {
		if err := cfg.check(); err != nil {
			return nil, err
		}
		return g.request(line, cfg)
	}
	return o.open(pin, cfg)
}

// checkGiven refuses a line that its device does not have.
func (s *Source) checkGiven() error {
	for _, r := range s.runners {
		for _, p := range r.pins() {
			if g, line := s.giver(p); g != nil && !g.hasLine(line) {
				name, _, _ := strings.Cut(string(p), ".")
				return fmt.Errorf("make device %s: there is no line %s: it is like %s.A0 or %s.B7", r.spec.Name, p, name, name)
			}
		}
	}
	return nil
}

// Lines are the pins of all devices on the board itself.
func (s *Source) Lines() (pins []edge.Pin) {
	for _, r := range s.runners {
		for _, p := range r.pins() {
			if g, _ := s.giver(p); g == nil {
				pins = append(pins, p)
			}
		}
	}
	return pins
}

// Run runs all devices until ctx is done and they have left their hardware
// safe. It returns nil.
func (s *Source) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	s.heard.poll() // before a device asks
	wg.Go(func() { s.heard.run(ctx) })
	for _, r := range s.runners {
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Devices is the state of all devices, by name.
func (s *Source) Devices() []edge.DeviceStatus {
	all := make([]edge.DeviceStatus, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r.status())
	}
	return all
}

// Device is the state of one.
func (s *Source) Device(name string) (edge.DeviceStatus, bool) {
	r, ok := s.byName[name]
	if !ok {
		return edge.DeviceStatus{}, false
	}
	return r.status(), true
}

// Pins is the 40-pin header.
func (s *Source) Pins() []edge.PinStatus {
	device := map[edge.Pin]string{}
	for _, r := range s.runners {
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
