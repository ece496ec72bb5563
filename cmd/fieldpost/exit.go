package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes. They are part of the contract with scripts and the unit.
const (
	exitFine    = 0
	exitFailed  = 1 // it failed, or it found a problem
	exitUsage   = 2 // the arguments or the config are wrong
	exitNoAgent = 3 // there is no agent to talk to
)

// codedError is an error that asks for an exit code other than 1.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// withCode gives err the exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

// usagef is a mistake in the arguments.
func usagef(format string, args ...any) error {
	return withCode(exitUsage, fmt.Errorf(format, args...))
}

// errSilent is a failure whose report was the output itself.
var errSilent = errors.New("found a problem")

// exitCode is the code of what a verb returned.
func exitCode(err error) int {
	if err == nil {
		return exitFine
	}
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	return exitFailed
}

// report writes an error as one line. Only a list of problems takes a line each,
// since each has a place of its own in a file.
func report(w io.Writer, err error) {
	if err == nil || errors.Is(err, errSilent) {
		return
	}
	for _, line := range problemLines(err) {
		fmt.Fprintf(w, "fieldpost: %s\n", line)
	}
}

// oneLine takes the line breaks out of a text.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
