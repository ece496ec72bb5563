package uplink

import (
	"errors"
	"time"
)

// What a sender says went wrong. Everything else is retried with the usual waits.
var (
	// ErrNotConnected: the connection is gone, or was never there.
	ErrNotConnected = errors.New("not connected")
	// ErrDenied: the peer does not let us in (a wrong password, a missing right).
	// Nobody can cure that within seconds: it is retried slowly, and nothing is
	// dropped.
	ErrDenied = errors.New("the peer does not let us in")
	// ErrStalled: there was no acknowledgement and no falling socket queue.
	ErrStalled = errors.New("no progress")
)

// permanentError marks what no retry can cure.
type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent says that the peer will never take this event, however often it is
// sent. It goes to quarantine.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err was made by Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// The forwarder's times. DESIGN.md section 7 names those that users can see.
const (
	connectWithin = 30 * time.Second // dial, handshakes and the first answer
	stableAfter   = 5 * time.Minute  // a connection this old ends any outage
	stableLeast   = time.Minute      // a younger one ends none
	minWait       = time.Second      // upper end of the first waits
	maxWait       = 5 * time.Minute  // upper end of the last ones
	slowWait      = time.Minute      // lower end of the waits after ErrDenied
	chokeWithin   = 10 * time.Second // a peer that closes on an event does it this fast
	stallAfter    = 30 * time.Second // without progress the connection is torn down
	hurryAfter    = 2 * time.Second  // how long a try may go on before a change of routes ends it
	hurryStall    = 10 * time.Second // stallAfter, after a change of routes
	drainWithin   = 4 * time.Second  // for the last batches when we stop
	closeWithin   = time.Second      // for saying goodbye; the will says it for us else
	noticeEvery   = 10 * time.Minute // at most one ledger, one up, one down in this
	aboutEvery    = 10 * time.Minute // about is told again after this if it changed
	stateEvery    = 100 * time.Millisecond
)
