package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar shows on one line how far something long is.
type bar struct {
	w    io.Writer // nil: nobody reads it
	what string
	now  func() time.Time
	next time.Time // not drawn before; the zero time: not drawn yet
}

const (
	barWidth = 20
	barEvery = 200 * time.Millisecond
)

// bar begins one on the errors, where a person reads them.
func (a *app) bar(what string) *bar {
	b := &bar{what: what, now: time.Now}
	if isTerminal(a.Err) {
		b.w = a.Err
	}
	return b
}

// told draws it, now and then.
func (b *bar) told(done, total int64) {
	if b.w == nil || total <= 0 {
		return
	}
	now := b.now()
	if now.Before(b.next) {
		return
	}
	b.next = now.Add(barEvery)
	part := min(float64(done)/float64(total), 1)
	full := int(part * barWidth)
	fmt.Fprintf(b.w, "\r\x1b[K%s [%s%s] %.0f %%  %s of %s", b.what, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), part*100, bytesText(done), bytesText(total))
}

// end takes it away.
func (b *bar) end() {
	if !b.next.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
