package gpio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fieldpost/edge"
)

// A line that is sent has at most maxSend bytes, which every port of the kernel's takes
// at once where nothing else waits. It is waited for sendWithin: a rule sends on the
// goroutine of the event that it reacts to.
const (
	maxSend    = 1024
	sendWithin = 500 * time.Millisecond
)

// LineEnd is what ends a line that is sent: lf, cr or crlf.
type LineEnd string

// The ends of a line.
const (
	EndLF   LineEnd = "lf"
	EndCR   LineEnd = "cr"
	EndCRLF LineEnd = "crlf"
)

// MarshalText gives the config's word.
func (e LineEnd) MarshalText() ([]byte, error) { return []byte(e), nil }

// UnmarshalText reads the config's word.
func (e *LineEnd) UnmarshalText(b []byte) error {
	v := LineEnd(strings.ToLower(string(b)))
	if v.bytes() == "" {
		return fmt.Errorf("send %q: it is lf, cr or crlf", b)
	}
	*e = v
	return nil
}

func (e LineEnd) bytes() string {
	switch e {
	case EndLF:
		return "\n"
	case EndCR:
		return "\r"
	case EndCRLF:
		return "\r\n"
	}
	return ""
}

// serialTaken is the port while a run has it.
type serialTaken struct {
	mu   sync.Mutex
	port SerialPort
	out  *Outlet
}

func (t *serialTaken) hold(port SerialPort, out *Outlet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.port, t.out = port, out
}

// serialSender is a serial that takes the command send.
type serialSender struct{ *serial }

var _ Commander = (*serialSender)(nil)

// Verbs is send.
func (s *serialSender) Verbs() []string { return []string{"send"} }

// Remote reports whether upstream may send.
func (s *serialSender) Remote() bool { return s.cfg.Remote }

// Do writes a line. It blocks for sendWithin at most; where the kernel has not taken
// all by then it fails, and the device may have got a part of the line. The error wraps
// edge.ErrBadValue where the text can't be sent, edge.ErrAbsent where there is no port,
// and else edge.ErrRefused.
func (s *serialSender) Do(a Action) (Result, error) {
	text, err := sendText(a)
	if err != nil {
		return Result{}, err
	}
	t, until := &s.taken, time.Now().Add(sendWithin) // the wait for others is a part of it
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.port == nil {
		return Result{}, fmt.Errorf("%w: %s is not open now", edge.ErrAbsent, s.cfg.Port)
	}
	line := text + s.cfg.Send.bytes()
	if err := t.port.SetWriteDeadline(until); err != nil {
		return Result{}, s.refusal("write to "+s.cfg.Port, err)
	}
	if n, err := t.port.Write([]byte(line)); err != nil {
		return Result{}, s.refusal(fmt.Sprintf("write to %s, of which %d of %d bytes were taken", s.cfg.Port, n, len(line)), err)
	}
	res := Result{Value: quote(text)}
	res.Told = t.out.Queue(a.Tell(res))
	return res, nil
}

// refusal is an error of the port as those who sent know it.
func (s *serialSender) refusal(what string, err error) error {
	if err = serialError(what, s.cfg.Port, err); errors.Is(err, edge.ErrAbsent) {
		return err
	}
	return fmt.Errorf("%w: %w", edge.ErrRefused, err)
}

// sendText is the line of a command.
func sendText(a Action) (string, error) {
	var text string
	switch {
	case len(a.If) > 0 && string(a.If) != "null":
		return "", fmt.Errorf("%w: send takes no condition", edge.ErrBadValue)
	case !utf8.Valid(a.Value): // json would replace what is not
		return "", fmt.Errorf("%w: the text is not UTF-8", edge.ErrBadValue)
	case json.Unmarshal(a.Value, &text) != nil || string(a.Value) == "null":
		return "", fmt.Errorf("%w: send takes a text, not %s", edge.ErrBadValue, clip(a.Value))
	case len(text) > maxSend:
		return "", fmt.Errorf("%w: the text has %d bytes, and %d are possible", edge.ErrBadValue, len(text), maxSend)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "", fmt.Errorf("%w: the text is one line without control characters", edge.ErrBadValue)
	}
	return text, nil
}
