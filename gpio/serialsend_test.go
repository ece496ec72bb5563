package gpio

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"fieldpost/edge"
)

// TestSerialSendsAtOnce: sends to a port that takes nothing share one wait, so neither
// a rule nor the end of the run waits for one after the other. Each is refused.
func TestSerialSendsAtOnce(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	defer here.Close()
	s := &serialSender{&serial{cfg: Serial{Port: "/dev/ttyUSB9", Send: EndLF}}}
	s.taken.hold(here, nil)
	began, errs := time.Now(), make(chan error, 5)
	for range cap(errs) {
		go func() {
			_, err := s.Do(Action{Verb: "send", Value: []byte(`"x"`)})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, edge.ErrRefused) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
	s.taken.hold(nil, nil)
	if took := time.Since(began); took > 3*sendWithin {
		t.Errorf("it took %s", took)
	}
	if _, err := s.Do(Action{Verb: "send", Value: []byte(`"x"`)}); !errors.Is(err, edge.ErrAbsent) || errors.Is(err, edge.ErrRefused) {
		t.Error(err)
	}
}
