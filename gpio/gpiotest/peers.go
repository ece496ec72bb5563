package gpiotest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// Peers are what is at the other end of serial ports, by path, and of connections, by
// host:port. Each one runs on a goroutine of its own for as long as the connection is
// open, and returns when reading or writing it fails.
type Peers struct {
	mu  sync.Mutex
	all map[string]func(net.Conn)
}

// Set puts a peer there; nil takes it away.
func (p *Peers) Set(where string, peer func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]func(net.Conn){}
	}
	p.all[where] = peer
}

// at is the peer there, nil where there is none.
func (p *Peers) at(where string) func(net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[where]
}

// Serial opens a port: ENOENT where there is none.
func (p *Peers) Serial(port string, _ gpio.SerialMode) (gpio.SerialPort, error) {
	peer := p.at(port)
	if peer == nil {
		return nil, fmt.Errorf("open %s: %w: %w", port, edge.ErrAbsent, unix.ENOENT)
	}
	return connect(peer), nil
}

// Dial opens a connection: ECONNREFUSED where nobody listens.
func (p *Peers) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	peer := p.at(addr)
	if peer == nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, addr, unix.ECONNREFUSED)
	}
	return connect(peer), ctx.Err()
}

func connect(peer func(net.Conn)) net.Conn {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		peer(there)
	}()
	return here
}

// Teller sends a text each so often, and takes what it is sent.
func Teller(text string, every time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_, _ = io.Copy(io.Discard, c)
		}()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-closed:
				return
			case <-tick.C:
			}
			if _, err := c.Write([]byte(text)); err != nil {
				return
			}
		}
	}
}

// Page answers one request of each connection.
func Page(h http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		rec := httptest.NewRecorder()
		h(rec, req)
		resp := rec.Result()
		resp.Close = true
		_ = resp.Write(c) // the client may have gone
	}
}

// exampleDevices are the ones that the drivers' examples name.
func exampleDevices() *Peers {
	meter := &ModbusUnits{Input: map[uint16]uint16{30775: 0, 30776: 12345}}
	return &Peers{all: map[string]func(net.Conn){
		"/dev/ttyUSB0": Teller("  12.34 NET\r\n", time.Second),
		"10.0.0.5:502": meter.TCP,
		"10.0.0.7:80":  Page(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"main":{"temp":21.5}}`) }),
	}}
}
