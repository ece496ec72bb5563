package localapi

import (
	"net/netip"
	"sync"
	"time"
)

const (
	freeTries   = 5                // wrong keys of an address before it has to wait
	longestWait = 30 * time.Second // after any number of them
	forgetAfter = 10 * time.Minute // without another wrong key
	mostFailing = 1024             // addresses remembered
)

// backoff makes addresses that try wrong keys wait, longer each time, and never
// for good. While one waits its keys are not looked at, right or wrong: an answer
// would tell which they are.
type backoff struct {
	mu    sync.Mutex
	tries map[netip.Addr]*tries
}

type tries struct {
	wrong int
	last  time.Time
	until time.Time
}

func newBackoff() *backoff { return &backoff{tries: map[netip.Addr]*tries{}} }

// source is what counts as one address: of IPv6, where a host has as many as it
// likes, a /64.
func source(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// wait is how long an address still has to wait.
func (b *backoff) wait(a netip.Addr, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tries[source(a)]
	if t == nil {
		return 0
	}
	return max(0, t.until.Sub(now))
}

// wrong notes a wrong key.
func (b *backoff) wrong(a netip.Addr, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a = source(a)
	t := b.tries[a]
	if t == nil || now.Sub(t.last) > forgetAfter {
		if t == nil && len(b.tries) >= mostFailing {
			b.forgetOldest()
		}
		t = &tries{}
		b.tries[a] = t
	}
	t.wrong++
	t.last = now
	if over := t.wrong - freeTries; over >= 0 {
		t.until = now.Add(min(longestWait, time.Second<<min(over, 10)))
	}
}

// right forgets an address's wrong keys.
func (b *backoff) right(a netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tries, source(a))
}

func (b *backoff) forgetOldest() {
	var oldest netip.Addr
	var when time.Time
	for a, t := range b.tries {
		if when.IsZero() || t.last.Before(when) {
			oldest, when = a, t.last
		}
	}
	delete(b.tries, oldest)
}
