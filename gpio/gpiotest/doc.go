// Package gpiotest is what tests of devices need: a bench with a simulated
// board, a pump that remembers what it got and has a failure dial, and the suite
// that every driver must pass.
package gpiotest
