package gpio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"fieldpost/edge"
)

// How often a request is tried, how long one waits for those of others, and for a
// connection. A master may try again (Serial Line V1.02, 2.4.1): one bad frame in a
// while is what a long line has.
const (
	modbusTries = 3
	modbusWait  = 10 * time.Second
	modbusDial  = 5 * time.Second
)

// rtuGap in the middle of an answer means that the rest does not come: USB ports and
// serial servers hand on what they have later than the 1.5 characters of the document.
// Where the line is so slow that 4 characters take longer, those are waited for.
// A line that is not quiet for rtuHush can't be used.
const (
	rtuGap  = 100 * time.Millisecond
	rtuHush = 500 * time.Millisecond
)

// silentConn requests in a row without an answer mean that a connection is half open.
const silentConn = 2

// modbusLinks keeps one link a port or host for all devices on it.
type modbusLinks struct {
	mu  sync.Mutex
	all map[string]*modbusLink
}

func newModbusLinks() *modbusLinks { return &modbusLinks{all: map[string]*modbusLink{}} }

// link gives the link of an address, made when it is first asked for.
func (l *modbusLinks) link(env Env, address string, mode SerialMode) (*modbusLink, error) {
	made, err := newModbusLink(env, address, mode)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.all[made.name]
	if have == nil {
		l.all[made.name] = made
		return made, nil
	}
	if have.serial && have.mode != mode {
		return nil, fmt.Errorf("%s is set up for %s by another device, and here for %s: all on one line have the same", have.name, have.mode, mode)
	}
	return have, nil
}

// modbusLink is a serial line or a TCP connection with units on it. It lets one
// request at a time onto it.
type modbusLink struct {
	name   string // the port's path, or host:port
	serial bool
	mode   SerialMode
	open   func(context.Context) (SerialPort, error)
	turn   chan struct{} // has a token while a request is under way

	// of whoever has the turn
	conn        SerialPort // nil: not open
	transaction uint16
	silent      int // requests in a row without an answer
	owed        lateAnswer

	mu     sync.Mutex
	users  int
	holder string
	since  time.Time
}

// lateAnswer is an answer on a serial line that may still come, though nobody waits
// for it any more: nothing in it tells it from the answer to another request.
type lateAnswer struct {
	request modbusRequest
	until   time.Time
}

// newModbusLink reads an address: tcp://host[:502], or the path of a port.
func newModbusLink(env Env, address string, mode SerialMode) (*modbusLink, error) {
	l := &modbusLink{name: address, turn: make(chan struct{}, 1), mode: mode}
	if strings.HasPrefix(address, "/") {
		l.serial = true
		l.open = func(context.Context) (SerialPort, error) { return env.Serial(address, mode) }
		return l, checkPort("modbus", address)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "tcp" || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("modbus is %q: it is tcp://HOST, tcp://HOST:PORT, or the path of a serial port", address)
	}
	port := u.Port()
	if port == "" {
		port = "502"
	}
	l.name = net.JoinHostPort(u.Hostname(), port)
	l.open = func(ctx context.Context) (SerialPort, error) {
		ctx, cancel := context.WithTimeout(ctx, modbusDial)
		defer cancel()
		conn, err := env.Dial(ctx, "tcp", l.name)
		if err != nil {
			return nil, absentError("connect to "+l.name, err)
		}
		return conn, nil
	}
	return l, nil
}

// use counts a device in; the last that is done closes the link.
func (l *modbusLink) use() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.users--; l.users == 0 {
			l.drop() // nobody has the turn
		}
	}
}

// drop closes the connection. The next request opens it again.
func (l *modbusLink) drop() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn, l.silent = nil, 0
}

// ask asks a unit, again where a try fails, and gives the data of its answer. Each try
// waits for its turn anew, so that a dead unit holds its neighbours for one timeout at
// most. It returns soon after ctx is done.
func (l *modbusLink) ask(ctx context.Context, device string, r modbusRequest, timeout time.Duration) (data []byte, err error) {
	for try := range modbusTries {
		data, err = l.once(ctx, device, r, timeout, try > 0)
		var refused ModbusException
		if err == nil || ctx.Err() != nil || errors.As(err, &refused) || errors.Is(err, edge.ErrAbsent) || errors.Is(err, ErrBusHeld) {
			break
		}
	}
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, errModbusSilent):
		return nil, absentError(fmt.Sprintf("ask unit %d on %s", r.unit, l.name), fmt.Errorf("%w within %s", err, timeout))
	}
	return nil, fmt.Errorf("ask unit %d on %s: %w", r.unit, l.name, err)
}

// once is one try.
func (l *modbusLink) once(ctx context.Context, device string, r modbusRequest, timeout time.Duration, again bool) ([]byte, error) {
	for {
		if err := l.take(ctx, device); err != nil {
			return nil, err
		}
		left := time.Until(l.owed.until)
		if l.owed.request.unit != r.unit || l.owed.request == r || left <= 0 {
			break
		}
		l.give() // the other units need not wait for it
		pause(ctx, left)
	}
	defer l.give()
	if l.conn == nil {
		conn, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	stop := interrupt(ctx, l.conn.SetDeadline)
	var data []byte
	var keep bool
	var err error
	if l.serial {
		data, keep, err = l.askRTU(ctx, r, timeout, again)
	} else {
		data, keep, err = l.askTCP(ctx, r, timeout)
	}
	stop()
	if !keep || ctx.Err() != nil {
		l.drop()
	}
	return data, err
}

// take waits for the turn.
func (l *modbusLink) take(ctx context.Context, device string) error {
	wait := time.NewTimer(modbusWait)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %s by device %s for %s", ErrBusHeld, l.name, l.holder, time.Since(l.since).Round(time.Second))
	case l.turn <- struct{}{}:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder, l.since = device, time.Now()
	return nil
}

func (l *modbusLink) give() { <-l.turn }

// askRTU asks on a serial line. keep is false where the port failed.
func (l *modbusLink) askRTU(ctx context.Context, r modbusRequest, timeout time.Duration, again bool) (data []byte, keep bool, err error) {
	if err := l.hush(ctx); err != nil {
		return nil, !serialGone(err), err
	}
	frame := r.rtuFrame()
	end := time.Now().Add(l.mode.airtime(len(frame)) + timeout)
	if err := l.send(ctx, frame, end); err != nil {
		return nil, false, err
	}
	if again && l.owed.request == r && time.Now().Before(l.owed.until) {
		// The answer to the try before may come now, and that to this one later.
		l.owed = lateAnswer{r, end.Add(timeout)}
	}
	var in []byte
	until := end
	for buf := make([]byte, 256); ; {
		n, err := l.read(ctx, buf, until)
		in = append(in, buf[:n]...)
		pdu, begun := r.rtuFind(in)
		switch {
		case pdu != nil:
			data, err = r.answer(pdu)
			return data, true, err
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !begun { // else this was the answer
				l.owed = lateAnswer{r, end.Add(timeout)}
			}
			return nil, true, r.rtuBlame(in)
		case err != nil:
			return nil, false, err
		case len(in) > maxRTUSeen:
			l.owed = lateAnswer{r, end.Add(timeout)}
			return nil, true, r.rtuBlame(in)
		case begun:
			until = earlier(end, time.Now().Add(max(rtuGap, l.mode.airtime(4))))
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// hush waits until the line was quiet for 3.5 characters (Serial Line V1.02, 2.5.1.1),
// which over 19200 baud are 1.75 ms, and drops what came until then.
func (l *modbusLink) hush(ctx context.Context) error {
	quiet := 1750 * time.Microsecond
	if l.mode.Baud <= 19200 {
		quiet = l.mode.airtime(7) / 2
	}
	last := time.Now().Add(max(rtuHush, 3*quiet))
	for buf := make([]byte, 256); ; {
		_, err := l.read(ctx, buf, time.Now().Add(quiet))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			return l.dropInput()
		case err != nil:
			return err
		case time.Now().After(last):
			return fmt.Errorf("%w: the line is never quiet; another master may be on it, or the speed is another", errModbusGarbage)
		}
	}
}

// dropInput drops what a port has and read did not see: a wait that began after its
// deadline, as on a busy machine, looks for nothing.
func (l *modbusLink) dropInput() error {
	port, ok := l.conn.(interface{ Drop() error })
	if !ok {
		return nil
	}
	if err := port.Drop(); err != nil {
		return l.broken("drop what came", err)
	}
	return nil
}

// askTCP asks on a connection. keep is false where that can't be used any more.
func (l *modbusLink) askTCP(ctx context.Context, r modbusRequest, timeout time.Duration) (data []byte, keep bool, err error) {
	l.transaction++
	end := time.Now().Add(timeout)
	if err := l.send(ctx, r.tcpFrame(l.transaction), end); err != nil {
		return nil, false, err
	}
	var in []byte
	for buf := make([]byte, 512); ; {
		n, err := l.read(ctx, buf, end)
		pdu, rest, bad := r.tcpFind(append(in, buf[:n]...), l.transaction)
		in = bytes.Clone(rest)
		switch {
		case pdu != nil:
			l.silent = 0
			data, err = r.answer(pdu)
			return data, len(in) == 0, err
		case bad != nil:
			return nil, false, bad
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.silent++
			// A part of a frame would be in the way of the next one.
			return nil, l.silent < silentConn && len(in) == 0, errModbusSilent
		case err != nil:
			return nil, false, err
		}
	}
}

// send writes a request, of which nothing may be left out.
func (l *modbusLink) send(ctx context.Context, frame []byte, until time.Time) error {
	if err := l.conn.SetDeadline(until); err != nil {
		return l.broken("write", err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, err := l.conn.Write(frame); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errModbusSilent
		}
		return l.broken("write", err)
	}
	return nil
}

// read waits for bytes. Its error is os.ErrDeadlineExceeded where none came in time.
func (l *modbusLink) read(ctx context.Context, buf []byte, until time.Time) (int, error) {
	if err := l.conn.SetReadDeadline(until); err != nil {
		return 0, l.broken("read", err)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	n, err := l.conn.Read(buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = l.broken("read", err)
	}
	return n, err
}

// broken is what happened to the connection or the port. A peer that closes is none
// that is absent: it is asked again.
func (l *modbusLink) broken(what string, err error) error {
	switch {
	case l.serial:
		return serialError(what, l.name, err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe):
		return fmt.Errorf("%s: the peer closed the connection", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}
