package gpiotest

import (
	"errors"
	"sync"
	"time"
)

// ErrNAK is what a bus says where no part acknowledges, in the words of periph's sysfs
// driver, which keeps no errno (FACTS.md 1.1).
var ErrNAK = errors.New("sysfs-i2c: remote I/O error")

// Fault is what is wrong with a part. The zero one: nothing.
type Fault struct {
	Err   error         // the transaction fails with it: ErrNAK, or unix.EIO
	Stuck bool          // the transaction blocks until another fault is set
	Delay time.Duration // the transaction takes so long
	// Only so many bytes of an answer come from the part, the rest reads as 0xff, as a
	// bus does that nobody drives. 0: all; -1: none.
	Short int

	After int // so many transactions are right first
	Times int // then so many are wrong, and the rest is right; 0: all
}

// Dial sets the faults of one part, and counts its transactions.
type Dial struct {
	mu      sync.Mutex
	fault   Fault
	seen    int           // transactions since Set
	count   int           // transactions in all
	release chan struct{} // closed by the next Set
}

// Set sets what is wrong from now on. It releases what is stuck.
func (d *Dial) Set(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.release != nil {
		close(d.release)
		d.release = nil
	}
	if f.Stuck {
		d.release = make(chan struct{})
	}
	d.fault, d.seen = f, 0
}

// Count is the number of transactions so far.
func (d *Dial) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// through lets a transaction through, with its fault.
func (d *Dial) through(tx func(w, r []byte), w, r []byte) error {
	d.mu.Lock()
	f, release := d.fault, d.release
	d.count++
	d.seen++
	if d.seen <= f.After || f.Times > 0 && d.seen > f.After+f.Times {
		f = Fault{}
	}
	d.mu.Unlock()
	if f.Stuck {
		<-release
		return ErrNAK // the adapter gave up on it
	}
	if f.Delay > 0 {
		<-time.After(f.Delay)
	}
	if f.Err != nil {
		return f.Err
	}
	tx(w, r)
	if f.Short != 0 {
		for i := max(0, f.Short); i < len(r); i++ {
			r[i] = 0xff
		}
	}
	return nil
}
