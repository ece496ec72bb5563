package gpio

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestModbusTwoLateAnswers: a unit that is always late answers the second try of a
// request with the first try's answer, and so owes one more, which is not another
// request's.
func TestModbusTwoLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() { // its registers have their own addresses in them
			for req := make([]byte, 8); ; {
				if _, err := io.ReadFull(there, req); err != nil {
					return
				}
				out := []byte{req[0], req[1], 2, req[2], req[3]}
				out = binary.LittleEndian.AppendUint16(out, crc16(out))
				time.AfterFunc(1500*time.Millisecond, func() { _, _ = there.Write(out) })
			}
		}()
		l := &modbusLink{name: "line", serial: true, mode: serialMode(), turn: make(chan struct{}, 1),
			open: func(context.Context) (SerialPort, error) { return here, nil }}
		for _, address := range []uint16{7, 9, 7, 8} {
			r := modbusRequest{unit: 1, function: readHolding, address: address, quantity: 1}
			data, err := l.ask(t.Context(), "a", r, time.Second)
			if err != nil || binary.BigEndian.Uint16(data) != address {
				t.Errorf("register %d: % x, %v", address, data, err)
			}
		}
		l.drop()
		there.Close()
		<-time.After(2 * time.Second)
	})
}

// TestModbusOthersGoOn: while a late answer of one unit is waited for, other units are
// asked.
func TestModbusOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := &latePort{}
		l := &modbusLink{name: "line", serial: true, mode: serialMode(), turn: make(chan struct{}, 1),
			open: func(context.Context) (SerialPort, error) { return port, nil }}
		began := time.Now()
		l.owed = lateAnswer{modbusRequest{unit: 1, function: readHolding, address: 7, quantity: 1}, began.Add(modbusWait + time.Second)}
		asked := func(unit byte) time.Duration {
			data, err := l.ask(t.Context(), "a", modbusRequest{unit: unit, function: readHolding, address: 9, quantity: 1}, time.Second)
			if err != nil || binary.BigEndian.Uint16(data) != 9 {
				t.Errorf("unit %d: % x, %v", unit, data, err)
			}
			return time.Since(began)
		}
		first := make(chan time.Duration, 1)
		go func() { first <- asked(1) }()
		synctest.Wait()
		if took := asked(2); took > time.Second {
			t.Errorf("unit 2 waited %s", took)
		}
		if took := <-first; took < modbusWait+time.Second {
			t.Errorf("unit 1 was asked after %s", took)
		}
	})
}

// TestModbusDropsUnread: a wait for quiet that began after its deadline sees nothing of
// what has come, which is no answer to the next request.
func TestModbusDropsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := modbusRequest{unit: 1, function: readHolding, address: 9, quantity: 1}
		stale := []byte{1, readHolding, 2, 0, 7}
		port := &latePort{came: binary.LittleEndian.AppendUint16(stale, crc16(stale))}
		l := &modbusLink{name: "line", serial: true, mode: serialMode(), turn: make(chan struct{}, 1),
			open: func(context.Context) (SerialPort, error) { return port, nil }}
		data, err := l.ask(t.Context(), "a", r, time.Second)
		if err != nil || binary.BigEndian.Uint16(data) != 9 {
			t.Errorf("% x, %v", data, err)
		}
	})
}

// latePort is a port with units that answer at once, each register with its address. A
// read that comes before any request on it does so after its deadline.
type latePort struct {
	SerialPort
	came  []byte
	asked bool
}

func (p *latePort) Write(req []byte) (int, error) {
	out := []byte{req[0], req[1], 2, req[2], req[3]}
	p.came, p.asked = append(p.came, binary.LittleEndian.AppendUint16(out, crc16(out))...), true
	return len(req), nil
}

func (p *latePort) Read(b []byte) (int, error) {
	if !p.asked || len(p.came) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.came)
	p.came = p.came[n:]
	return n, nil
}

func (p *latePort) SetDeadline(time.Time) error     { return nil }
func (p *latePort) SetReadDeadline(time.Time) error { return nil }
func (p *latePort) Drop() error                     { p.came = nil; return nil }
func (p *latePort) Close() error                    { return nil }
