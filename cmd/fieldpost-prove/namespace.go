package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// ownMounts is set in the environment of a process that has its own mounts.
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
	cmd.Env = append(os.Environ(), ownMounts+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return true, fmt.Errorf("in own mounts: %w", err)
	}
	return true, nil
}
