package main

import (
	"sync"
	"time"
)

// Counter watches a link and counts the acknowledgements that come down, from the
// first message that goes up: the least work that tells how long a drain takes.
type Counter struct {
	goal int

	mu    sync.Mutex
	count int
	first time.Time // when the first message went up
	last  time.Time // when the goal was reached
	done  chan struct{}
}

var _ Watcher = (*Counter)(nil)

func newCounter(goal int) *Counter { return &Counter{goal: goal, done: make(chan struct{})} }

// Watch follows one connection.
func (c *Counter) Watch() Watched { return &counted{to: c} }

func (c *Counter) add(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.count; before < c.goal && before+n >= c.goal {
		c.last = time.Now()
		close(c.done)
	}
	c.count += n
}

// begin notes the first message.
func (c *Counter) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = time.Now()
	}
}

// Took is the time from the first message to the goal.
func (c *Counter) Took() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Sub(c.first)
}

// Since is the time from the first message to now.
func (c *Counter) Since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.first)
}

// Count is how many acknowledgements came so far.
func (c *Counter) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// counted is one connection whose acknowledgements are counted.
type counted struct {
	to *Counter

	upward, downward splitter
	begun            bool
}

// Up looks for the first message only.
func (c *counted) Up(b []byte) error {
	if c.begun {
		return nil
	}
	return c.upward.feed(b, func(first byte, _ []byte) {
		if first&0xf0 == mqttPublish && !c.begun {
			c.begun = true
			c.to.begin()
		}
	})
}

// Down counts.
func (c *counted) Down(b []byte) error {
	n := 0
	err := c.downward.feed(b, func(first byte, _ []byte) {
		if first == mqttPuback {
			n++
		}
	})
	c.to.add(n)
	return err
}

// End does nothing: what was acknowledged stays so.
func (c *counted) End() {}
