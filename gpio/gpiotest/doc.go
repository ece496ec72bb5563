// Package gpiotest is what tests of devices need: a bench with a simulated
// board, a pump that remembers what it got and has a failure dial, and the suite
// that every driver must pass. For the emulated board there are its kernel's gpio-sim
// and i2c-stub, a sonar on the lines of the former, and the part of the suite that a
// real kernel can run.
package gpiotest
