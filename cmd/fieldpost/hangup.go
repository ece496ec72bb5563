package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// reloadOnHangup turns each SIGHUP into a wish to reload. One that comes because the
// terminal is gone that the agent was started in drains it, unless it was started to
// outlive that (nohup).
func reloadOnHangup(log *slog.Logger, drain func()) (wishes <-chan struct{}, end func()) {
	gone := func() bool { return false }
	var tty *os.File
	if !signal.Ignored(syscall.SIGHUP) {
		tty, _ = os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0) // without one there is nothing to hang up
	}
	if tty != nil {
		fd := int(tty.Fd())
		gone = func() bool { _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); return err != nil }
	}
	got, out, over := make(chan os.Signal, 1), make(chan struct{}, 1), make(chan struct{})
	signal.Notify(got, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-got:
			}
			if gone() {
				log.Info("draining: the terminal is gone")
				drain()
				return
			}
			select {
			case out <- struct{}{}:
			default: // there is a wish already that nobody has taken
			}
		}
	}()
	return out, func() {
		signal.Stop(got)
		close(over)
		<-ended
		if tty != nil {
			_ = tty.Close() // nothing was written
		}
	}
}
