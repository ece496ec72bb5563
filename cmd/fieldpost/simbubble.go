package main

import (
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// inBubble runs f in virtual time: whenever each goroutine that f began waits, time
// goes on at once to the next timer. The runtime alone knows when that is, and gives it
// to tests. A test that belongs to no test binary is all that it asks for: it has no
// flags, and prints nothing. A goroutine that is left behind is an error.
//
// Nothing in f may wait for a socket, a pipe or a goroutine outside: time would stop.
func inBubble(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("run in virtual time: %v", p)
		}
	}()
	synctest.Test(&testing.T{}, func(*testing.T) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("run in virtual time: panic: %v\n%s", p, debug.Stack())
			}
		}()
		err = f()
	})
	return err
}

// allWait returns once every other goroutine of the bubble waits for a time or for
// another of them: what was set off has had its effect.
func allWait() { synctest.Wait() }
