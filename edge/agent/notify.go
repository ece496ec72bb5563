package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"fieldpost/edge"
)

// pumpStats tells how the Pump gets on. *edge.Pump is one.
type pumpStats interface{ Stats() edge.PumpStats }

// notifier tells systemd how the agent is. Without systemd it does nothing.
type notifier struct {
	pump pumpStats
	log  *slog.Logger
}

func newNotifier(p pumpStats, log *slog.Logger) *notifier { return &notifier{p, log} }

func (n *notifier) ready() { n.send(daemon.SdNotifyReady + "\nSTATUS=storing, serving, forwarding") }

// reloading says when a reload began, which sd_notify(3) wants on CLOCK_MONOTONIC;
// ready ends it.
func (n *notifier) reloading(mono int64) {
	n.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d\nSTATUS=taking the config anew", daemon.SdNotifyReloading, mono/1000))
}

func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping + "\nSTATUS=draining") }

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("tell systemd", "err", err)
	}
}

// watch pets the watchdog while the Pump gets on.
func (n *notifier) watch(ctx context.Context) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("read the watchdog's time", "err", err)
		return nil
	}
	if limit == 0 {
		return nil
	}
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	for {
		if getsOn(time.Now(), n.pump.Stats(), limit) {
			n.send(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// getsOn reports whether the Pump has nothing to do, or began its flush within
// the limit. One that failed and is tried again counts: no restart mends a full
// disk. Only a flush that does not end is what the watchdog is for.
func getsOn(now time.Time, s edge.PumpStats, limit time.Duration) bool {
	return now.Sub(s.Progress) < limit
}
