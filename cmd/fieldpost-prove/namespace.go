package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownMounts is set in the environment of a process that has its own mounts, to
// CLOCK_MONOTONIC in nanoseconds when they were made: all that a run starts knows
// from it when the run began.
const ownMounts = "FIELDPOST_PROVE_MOUNTS"

// inOwnMounts runs the program again in a mount namespace of its own, unless it is
// in one. Others can't hold its mounts there: a namespace that somebody makes
// meanwhile has a copy of every mount, and a file system that is unmounted here
// lives on in it, on a device that is no more. And whatever ends the program, its
// mounts end with it.
func inOwnMounts(ctx context.Context, args []string, out io.Writer) (ran bool, err error) {
	if os.Getenv(ownMounts) != "" {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return true, fmt.Errorf("run in own mounts: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return true, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", ownMounts, now.Nano()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return true, fmt.Errorf("in own mounts: %w", err)
	}
	return true, nil
}

// runBegan is CLOCK_MONOTONIC in nanoseconds when the run began; 0 outside of one.
func runBegan() int64 {
	began, err := strconv.ParseInt(os.Getenv(ownMounts), 10, 64)
	if err != nil {
		return 0
	}
	return began
}
