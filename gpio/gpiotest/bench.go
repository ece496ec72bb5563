package gpiotest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/queue"
)

// Clock is a clock of one boot that follows time.Now, so that synctest drives it.
type Clock struct {
	start time.Time

	mu     sync.Mutex
	boot   uint32
	offset time.Duration // Mono = since start + offset
	state  edge.ClockState
	wall   time.Duration // Time is so far off
}

// NewClock is a synchronised clock, an hour after boot.
func NewClock() *Clock {
	return &Clock{start: time.Now(), boot: 1, offset: time.Hour, state: edge.Synced}
}

// Stamp is now.
func (c *Clock) Stamp() queue.Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return queue.Stamp{Boot: c.boot, Mono: int64(time.Since(c.start) + c.offset)}
}

// Mono is now, for a board.
func (c *Clock) Mono() int64 { return c.Stamp().Mono }

// State is what SetState set.
func (c *Clock) State() (edge.ClockState, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, 0
}

// SetState sets how far the clock can be trusted.
func (c *Clock) SetState(s edge.ClockState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// Reboot begins another boot: Mono starts at one second.
func (c *Clock) Reboot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot++
	c.offset = time.Second - time.Since(c.start)
}

// Leap lets CLOCK_MONOTONIC go on by d at once, as it seems to who is held up.
func (c *Clock) Leap(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// Step sets the wall clock by d; CLOCK_MONOTONIC goes on as it was.
func (c *Clock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
}

// Time is the wall time of a stamp.
func (c *Clock) Time(st queue.Stamp) (time.Time, edge.ClockState, time.Duration) {
	now := c.Stamp()
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.wall + time.Duration(st.Mono-now.Mono)).UTC(), edge.Synced, 0
}

// Age is how long ago a stamp was; of another boot, this one's uptime.
func (c *Clock) Age(st queue.Stamp) time.Duration {
	now := c.Stamp()
	if st.Boot != now.Boot {
		return time.Duration(now.Mono)
	}
	return time.Duration(now.Mono - st.Mono)
}

// Bench is a simulated board with what a Source needs around it.
type Bench struct {
	Board *gpio.SimBoard
	Pump  *Pump
	Clock *Clock
	Root  string // a folder with the proc and sys of a small board
	Echo  *Echo  // on GPIO19 and GPIO26, once GPIO19 is an output
	Scale *Scale // on GPIO20 and GPIO21, once GPIO21 is an output

	I2C      *I2C // I2C1, with the parts below
	SPI      *SPI // SPI0.0, an MCP3008 with Analog at its inputs
	Air      *BME280
	Volts    *ADS1115
	Expander *MCP23017
	Analog   [8]uint16

	Sysfs *Sysfs // reads and writes the files of it
	Peers *Peers // what is on its serial ports and its network
}

// NewBench makes one. Inside of a synctest bubble its time is the bubble's.
func NewBench(t testing.TB) *Bench {
	t.Helper()
	clock := NewClock()
	b := &Bench{Board: gpio.NewSimBoard(gpio.SimOptions{Mono: clock.Mono}), Pump: NewPump(), Clock: clock, Root: t.TempDir(), Peers: exampleDevices()}
	b.Echo = NewEcho(b.Board, "GPIO19", "GPIO26")
	b.Scale = NewScale(b, "GPIO20", "GPIO21")
	b.I2C, b.Air, b.Volts, b.Expander = NewI2C("I2C1"), NewBME280(0x60), NewADS1115(), NewMCP23017()
	b.I2C.Add(0x76, &b.Air.I2CPart)
	b.I2C.Add(0x48, &b.Volts.I2CPart)
	b.I2C.Add(0x20, &b.Expander.I2CPart)
	b.SPI = &SPI{Name: "SPI0.0", Part: MCP3008(&b.Analog)}
	b.Write(t, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
	b.Write(t, "sys/class/thermal/thermal_zone0/temp", "48312\n")
	b.Write(t, "proc/loadavg", "0.42 0.36 0.30 1/123 4567\n")
	b.Write(t, "proc/meminfo", "MemTotal:  437152 kB\nMemFree: 1 kB\nMemAvailable:  301000 kB\n")
	b.Sysfs = NewSysfs(b.Root)
	b.plugSensors(t)
	return b
}

// Write puts a file below Root.
func (b *Bench) Write(t testing.TB, name, text string) {
	t.Helper()
	file := filepath.Join(b.Root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Source makes a Source of devices on the bench.
func (b *Bench) Source(t testing.TB, specs ...gpio.Spec) *gpio.Source {
	t.Helper()
	s, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup, Root: b.Root,
		Buses: gpio.Buses{I2C: b.I2C.Open, SPI: b.SPI.Open}, Files: b.Sysfs.Files(), Serial: b.Peers.Serial, Dial: b.Peers.Dial})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Start runs a Source; stop ends it and gives the time that took.
func Start(t testing.TB, s *gpio.Source) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() time.Duration {
		t.Helper()
		began := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
}

// Pass lets time pass in a synctest bubble, and everything settle.
func Pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
