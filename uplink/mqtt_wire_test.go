package uplink

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// pair is both ends of a TCP connection.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if here, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if there, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func TestWireWritesAllBeforeItCloses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	here, there := pair(t)
	w := newWire(here)
	var want bytes.Buffer
	for i := range 10_000 {
		p := bytes.Repeat([]byte{byte(i)}, i%50)
		want.Write(p)
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	got, err := io.ReadAll(there)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes arrived of %d: %v", len(got), want.Len(), err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a closed wire took bytes")
	}
	<-w.done
	goleak.VerifyNone(t, before)
}

// A peer that reads nothing must not block a write, nor the end.
func TestWireNeverBlocks(t *testing.T) {
	here, _ := pair(t)
	w := newWire(here)
	piece := make([]byte, 64<<10)
	var err error
	for range 1000 {
		if _, err = w.Write(piece); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("64 MB were taken that nobody reads")
	}
	if n, err := w.Unsent(); err != nil || n < wirePending/2 {
		t.Errorf("%d bytes unsent: %v", n, err)
	}
	begin := time.Now()
	w.Close()
	<-w.done
	if took := time.Since(begin); took > 3*wireFarewell {
		t.Errorf("closing took %v", took)
	}
	w.abort()
	if _, err := w.Read(piece); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read gave %v", err)
	}
}

func TestWireHearsNothing(t *testing.T) {
	here, there := pair(t)
	w := newWire(here)
	defer w.abort()
	later := time.Now().Add(time.Minute)
	if d := w.deaf(later); d != 0 {
		t.Errorf("deaf for %v before any ping", d)
	}
	if _, err := w.Write([]byte{0xC0, 0}); err != nil {
		t.Fatal(err)
	}
	if d := w.deaf(later); d < 59*time.Second || d > time.Minute {
		t.Errorf("deaf for %v, want a minute", d)
	}
	if asked := time.Duration(w.asked.Load()); asked <= 0 || asked > time.Minute {
		t.Errorf("the ping was written at %v: that is the wall clock, which may be set meanwhile", asked)
	}
	if _, err := there.Write([]byte{0xD0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(w, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if d := w.deaf(later); d != 0 {
		t.Errorf("deaf for %v after an answer", d)
	}
}

// halfDead is a connection that can't be written to any more, while its reads
// have not found out yet.
type halfDead struct{ net.Conn }

var errHalfDead = errors.New("broken pipe")

func (halfDead) Write([]byte) (int, error) { return 0, errHalfDead }

// A write that fails ends the wire from inside. Whoever reads it must learn why:
// the MQTT client says nothing of a connection that it takes for closed by itself.
func TestWireTellsReadersOfAFailedWrite(t *testing.T) {
	here, _ := pair(t)
	w := newWire(halfDead{here})
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(make([]byte, 1)); !errors.Is(err, errHalfDead) {
		t.Errorf("read says %v, want %v", err, errHalfDead)
	}
	<-w.done
}

// Large buffers live as long as packets come, and no longer.
func TestWireGivesLargeBuffersBack(t *testing.T) {
	here, there := pair(t)
	w := newWire(here)
	defer func() { w.abort(); <-w.done }()
	const size = 300 << 10
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, there, size); err != nil {
		t.Fatal(err)
	}
	kept := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return cap(w.buf) + cap(w.spare)
	}
	for end := time.Now().Add(10 * time.Second); kept() < size; { // flush puts it back
		if time.Now().After(end) {
			t.Fatal("the buffer was not kept")
		}
		runtime.Gosched()
	}
	if w.rest(); kept() < size {
		t.Error("it was given back while it was used")
	}
	if w.rest(); kept() > 2*wireRest {
		t.Errorf("%d bytes are kept at rest", kept())
	}
}
