package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
)

// Serial is the config of a serial: a device that sends lines of text.
type Serial struct {
	Port       string `mapstructure:"serial"`
	SerialMode `mapstructure:",squash"`

	Match  string        `mapstructure:"match"` // a regular expression (Go's RE2); "": each line is text
	Unit   string        `mapstructure:"unit"`
	Accept Accept        `mapstructure:"accept"`
	Report Reporting     `mapstructure:"report"`
	Idle   edge.Duration `mapstructure:"idle"` // no line for so long is a failure; 0: never
	Send   LineEnd       `mapstructure:"send"` // what ends a line that is sent; "": nothing is sent
	Remote bool          `mapstructure:"remote"`
}

// freshLine is how soon after the port was opened a first byte belongs to a line that
// began before that: a character at 300 baud takes 33 ms, and USB ports hand on what
// they have every 16 ms.
const freshLine = 50 * time.Millisecond

// unmatchedLines in a row, and none before, mean that match is wrong.
const unmatchedLines = 10

func serialDriver() Driver {
	return Driver{
		Name: "serial",
		Doc: "A device that sends lines of text over a serial port: a meter, a scale, a card reader, a microcontroller. " +
			"Name the port by /dev/serial/by-id/..., which stays the same whatever else is plugged in; no other program can use it meanwhile. " +
			"baud, data_bits, parity and stop_bits are 9600, 8, none and 1 unless said; there is no flow control. " +
			"Without match each line is an event with the text as its value. match is a regular expression that picks from a line: " +
			"its group (?P<value>...), else its first group, else all that matched is the value, a reading where it is a number; other named groups are told beside it; lines that do not match are ignored. " +
			"accept and report are those of all sensors. A line ends with CR, LF or both; empty lines are left out, what is not UTF-8 is replaced. " +
			"A line over 4096 bytes, and what is over 100 lines or 16 kB a second, is told as a loss with a count. What came of the first line before the port was opened is dropped. " +
			"idle: the device is told as failed, and the port opened anew, if no line came for so long. " +
			"send: lf, cr or crlf lets the command send write a line of at most 1024 bytes that ends so; it is done when the kernel has taken all of it. remote lets it come from upstream.",
		Example: `scale: {serial: /dev/ttyUSB0, baud: 9600, match: '^\s*(?P<value>[-+]?[0-9.]+)\s*(?P<mode>[A-Z]+)?', unit: kg, report: {delta: 0.01, heartbeat: 15m}, idle: 10m, send: crlf}`,
		Config: func() any {
			return &Serial{SerialMode: serialMode(), Accept: Accept{Min: math.Inf(-1), Max: math.Inf(1)}}
		},
		New: newSerial,
	}
}

// serial is the device.
type serial struct {
	env   Env
	cfg   Serial
	match *regexp.Regexp // nil: each line is text
	group int            // of match: where the value is
	taken serialTaken
}

var _ Device = (*serial)(nil)

func newSerial(env Env, v any) (Device, error) {
	cfg, err := options[Serial](v)
	if err != nil {
		return nil, err
	}
	s := Sampling{Every: 1, Accept: cfg.Accept, Report: cfg.Report} // a line comes when it comes
	for _, err := range []error{checkPort("serial", cfg.Port), cfg.SerialMode.check(), s.check()} {
		if err != nil {
			return nil, err
		}
	}
	if cfg.Idle < 0 {
		return nil, fmt.Errorf("idle is %s: it is 0 or more", cfg.Idle)
	}
	d := &serial{env: env, cfg: *cfg}
	if cfg.Match != "" {
		if d.match, d.group, err = valueGroup(cfg.Match); err != nil {
			return nil, err
		}
	}
	if cfg.Send != "" {
		return &serialSender{d}, nil
	}
	return d, nil
}

// valueGroup compiles a match and finds the group that has the value.
func valueGroup(match string) (*regexp.Regexp, int, error) {
	re, err := regexp.Compile(match)
	if err != nil {
		return nil, 0, fmt.Errorf("match %q: %w", match, err)
	}
	taken := []string{"state", "unit", "quality", "count", "reading"}
	names := re.SubexpNames()
	for i, name := range names {
		switch {
		case slices.Contains(taken, name):
			return nil, 0, fmt.Errorf("match has a group %s: an event has that already", name)
		case name != "" && slices.Contains(names[:i], name):
			return nil, 0, fmt.Errorf("match has two groups %s: each has its own name", name)
		}
	}
	if i := re.SubexpIndex("value"); i > 0 {
		return re, i, nil
	}
	for i, name := range names {
		if i > 0 && name == "" {
			return re, i, nil
		}
	}
	return re, 0, nil
}

// Run opens the port and tells lines until ctx is done or the port fails.
func (d *serial) Run(ctx context.Context, out *Outlet) error {
	port, err := d.env.Serial(d.cfg.Port, d.cfg.SerialMode)
	if err != nil {
		return err
	}
	defer port.Close()
	stop := interrupt(ctx, port.SetReadDeadline)
	defer stop()
	d.taken.hold(port, out)
	defer d.taken.hold(nil, nil)
	l := &lineListener{serial: d, out: out, opened: time.Now(), lastLine: time.Now()}
	l.sampler = sampler{Sampling: Sampling{Accept: d.cfg.Accept, Report: d.cfg.Report}, unit: d.cfg.Unit}
	defer l.tellLosses()
	out.Ready()
	return l.listen(ctx, port)
}

// lineListener tells the lines of one open port.
type lineListener struct {
	*serial
	out      *Outlet
	sampler  sampler
	split    lineSplitter
	budget   lineBudget
	opened   time.Time
	begun    bool // the first byte came
	lastLine time.Time
	matched  bool // a line did
	strange  int  // lines before that did not
}

// listen reads until ctx is done or the port fails.
func (l *lineListener) listen(ctx context.Context, port SerialPort) error {
	for buf := make([]byte, maxLine); ; {
		if err := port.SetReadDeadline(l.until()); err != nil {
			return serialError("read "+l.cfg.Port, l.cfg.Port, err)
		}
		if ctx.Err() != nil {
			return nil
		}
		n, err := port.Read(buf)
		now := time.Now()
		l.take(buf[:n], now)
		if !l.budget.pending.IsZero() && !now.Before(l.budget.pending) {
			l.tellLosses()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return serialError("read "+l.cfg.Port, l.cfg.Port, err)
		case l.cfg.Idle > 0 && now.Sub(l.lastLine) >= l.cfg.Idle.D():
			return fmt.Errorf("read %s: no line came for %s", l.cfg.Port, l.cfg.Idle)
		}
	}
}

// until is when the wait for a byte ends; the zero time: never.
func (l *lineListener) until() time.Time {
	t := l.budget.pending
	if l.cfg.Idle > 0 {
		if end := l.lastLine.Add(l.cfg.Idle.D()); t.IsZero() || end.Before(t) {
			t = end
		}
	}
	return t
}

// take cuts what was read into lines and tells them.
func (l *lineListener) take(b []byte, now time.Time) {
	if !l.begun && len(b) > 0 {
		l.begun = true
		l.split.skip = now.Sub(l.opened) < freshLine
	}
	long := l.split.long
	l.split.feed(b, func(line []byte) {
		l.lastLine = now
		if l.budget.allow(now, len(line)) {
			l.tell(strings.TrimSpace(strings.ToValidUTF8(string(line), "\uFFFD")))
		}
	})
	if n := l.split.long - long; n > 0 {
		l.budget.long += n
		l.budget.owe(now)
	}
}

// tell tells one line.
func (l *lineListener) tell(line string) {
	if l.match == nil {
		if line != "" {
			l.out.Emit(Report{Value: quote(line), Unit: l.cfg.Unit})
		}
		return
	}
	m := l.match.FindStringSubmatch(line)
	if m == nil {
		if l.strange++; !l.matched && l.strange >= unmatchedLines {
			l.out.Doubt(fmt.Errorf("no line of %d matched yet; one was %.80q", l.strange, line))
		}
		return
	}
	l.matched = true
	l.out.Ready()
	r := reading{more: l.groups(m)}
	v, err := strconv.ParseFloat(m[l.group], 64)
	if err != nil {
		l.out.Emit(Report{Value: quote(m[l.group]), Unit: l.cfg.Unit, More: r.more})
		return
	}
	r.value = v
	l.sampler.judge(r, l.out)
}

// groups are the further named groups of a match: numbers where they are some.
func (l *lineListener) groups(m []string) (more []Field) {
	for i, name := range l.match.SubexpNames() {
		if i == l.group || name == "" || m[i] == "" {
			continue
		}
		value := quote(m[i])
		if v, err := strconv.ParseFloat(m[i], 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			value = number(v)
		}
		more = append(more, Field{name, value})
	}
	return more
}

// tellLosses tells what was lost since it was told last.
func (l *lineListener) tellLosses() {
	tell := func(cause string, n uint64) {
		if n > 0 {
			l.out.Emit(Report{Kind: edge.Loss, Count: n, More: []Field{{"cause", quote(cause)}}})
		}
	}
	tell("flood", l.budget.flood)
	tell("too long", l.budget.long)
	l.budget.flood, l.budget.long, l.budget.pending = 0, 0, time.Time{}
}
