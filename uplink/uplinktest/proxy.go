package uplinktest

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to a target and has a dial for what networks
// do to them. Every setting holds for the connections that are open and for
// those to come. It is safe for concurrent use.
type Proxy struct {
	// Tap, where it is set before the first connection, sees every piece that is
	// passed on, just before it is written. Conn counts the connections from 1;
	// up is true for what goes to the target. It must not keep b.
	Tap func(conn int, up bool, b []byte)

	target string
	ln     net.Listener
	wg     sync.WaitGroup

	mu     sync.Mutex
	turn   *sync.Cond // the dial was turned
	links  map[int]*link
	opened int
	up     int64 // bytes passed to the target
	down   int64 // bytes passed back
	frozen bool
	held   bool
	refuse bool
	cutAt  int64 // of up; 0: never
	delay  time.Duration
	closed bool
}

type link struct{ client, server net.Conn }

// NewProxy listens on a free port of loopback and passes on to target. Close
// ends it.
func NewProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	p := &Proxy{target: target, ln: ln, links: map[int]*link{}}
	p.turn = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Freeze stops reading from both sides without closing anything, as a dead
// route does: the kernels' buffers fill and nobody is told. Thaw goes on.
func (p *Proxy) Freeze() { p.set(func() { p.frozen = true }) }

// Thaw takes back Freeze and Hold.
func (p *Proxy) Thaw() { p.set(func() { p.frozen, p.held = false, false }) }

// Hold passes on what the client sends and holds back what the target answers:
// messages arrive and their acknowledgements do not. Cut then drops them for good.
func (p *Proxy) Hold() { p.set(func() { p.held = true }) }

// Delay holds each piece back for d, in both directions.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Refuse makes the proxy close new connections at once (true), or take them.
func (p *Proxy) Refuse(yes bool) { p.set(func() { p.refuse = yes }) }

// CutAfter resets all connections once n more bytes were passed to the target,
// in the middle of whatever is on its way then. It happens once.
func (p *Proxy) CutAfter(n int64) { p.set(func() { p.cutAt = p.up + n }) }

// Cut resets every open connection. New ones are taken.
func (p *Proxy) Cut() { p.set(p.cutLocked) }

// Opened counts the connections that were taken so far.
func (p *Proxy) Opened() int { p.mu.Lock(); defer p.mu.Unlock(); return p.opened }

// Open counts the connections that are open now.
func (p *Proxy) Open() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.links) }

// Passed gives the bytes passed on to the target and back.
func (p *Proxy) Passed() (up, down int64) { p.mu.Lock(); defer p.mu.Unlock(); return p.up, p.down }

// Close ends the listener and all connections and waits for their goroutines.
func (p *Proxy) Close() error {
	p.set(func() { p.closed = true; p.cutLocked() })
	err := p.ln.Close()
	p.wg.Wait()
	return err
}

func (p *Proxy) set(turn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn()
	p.turn.Broadcast()
}

func (p *Proxy) cutLocked() {
	p.cutAt = 0
	for id, l := range p.links {
		delete(p.links, id)
		l.reset()
	}
}

func (l *link) reset() {
	for _, c := range []net.Conn{l.client, l.server} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, not a close
		}
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	refuse := p.refuse || p.closed
	p.mu.Unlock()
	if refuse {
		_ = client.Close()
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client, server}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		l.reset()
		return
	}
	p.opened++
	id := p.opened
	p.links[id] = l
	p.mu.Unlock()

	var pipes sync.WaitGroup
	pipes.Go(func() { p.pipe(id, true, server, client) })
	pipes.Go(func() { p.pipe(id, false, client, server) })
	pipes.Wait()
	_, _ = client.Close(), server.Close()
	p.set(func() { delete(p.links, id) })
}

// pipe passes bytes from src to dst until either ends, then half-closes dst.
func (p *Proxy) pipe(id int, up bool, dst, src net.Conn) {
	buf := make([]byte, 32<<10)
	for p.pass(id, up, 0) {
		n, err := src.Read(buf)
		if n > 0 {
			if !p.pass(id, up, n) {
				return
			}
			if p.Tap != nil {
				p.Tap(id, up, buf[:n])
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if t, ok := dst.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
			return
		}
	}
}

// pass waits until the dial lets n bytes through, counts them and waits out the
// delay. It is false once the connection was cut.
func (p *Proxy) pass(id int, up bool, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.links[id] != nil && (p.frozen || p.held && !up) {
		p.turn.Wait()
	}
	if p.links[id] == nil {
		return false
	}
	if up {
		p.up += int64(n)
	} else {
		p.down += int64(n)
	}
	if p.cutAt > 0 && p.up >= p.cutAt {
		p.cutLocked()
		return false
	}
	if d := p.delay; d > 0 && n > 0 {
		p.mu.Unlock()
		<-time.After(d)
		p.mu.Lock()
	}
	return p.links[id] != nil
}
