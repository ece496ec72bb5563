package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/localapi"
	"fieldpost/queue"
)

// agent is one running Fieldpost.
type agent struct {
	opt Options
	log *slog.Logger
	id  string

	board edge.Board
	clock *edge.Clock
	store *queue.Store
	pump  *edge.Pump
	read  *edge.Log
	wear  *wear

	starts  *starts           // nil where crashes are not counted
	counted *starts           // since a reload that gave the first device that drives something; nil: none did
	lines   *gpio.KernelBoard // nil on a simulated board
	twin    *gpio.Twin        // nil where nothing is simulated
	source  *gpio.Source
	uplinks *uplinkSet
	api     *localapi.Server
	front   *front
	doors   *doors
	notify  *notifier

	reloads *reloads
	taken   atomic.Pointer[config.Config] // by the last reload; nil: there was none

	started time.Time
	failed  chan error // what a part ended with, by itself
}

// Run opens everything in order, runs until ctx is done or a part fails, drains
// and closes in reverse. It returns nil after a stop that ctx asked for, and a
// *ConfigError where the user has to mend something first.
func Run(ctx context.Context, opt Options) error {
	a := &agent{opt: opt, log: opt.Log, started: time.Now(), failed: make(chan error, 1), reloads: newReloads()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := a.openBoard(); err != nil {
		return err
	}
	if err := a.openStore(ctx); err != nil {
		return err
	}
	defer a.closeLines() // after the store: nothing of it is worth a delay there
	defer a.closeStore()
	if err := a.openParts(ctx); err != nil {
		return err
	}
	defer a.doors.close()
	return a.runParts(ctx)
}

// openBoard finds out where we are.
func (a *agent) openBoard() error {
	if a.opt.Board != nil {
		a.board = *a.opt.Board
	} else {
		board, err := edge.ThisBoard()
		if err != nil {
			return fmt.Errorf("read board: %w", err)
		}
		a.board = board
	}
	a.clock = edge.NewClock(a.board)
	a.id = ID(a.opt.Config.Agent.ID, a.board.Serial)
	return nil
}

// openParts makes what reads and writes the store. Nothing of it runs yet, and
// no device is touched.
func (a *agent) openParts(ctx context.Context) (err error) {
	if err := a.clock.Attach(a.store); err != nil {
		return fmt.Errorf("read the clock's table: %w", err)
	}
	a.pump = edge.NewPump(edge.PumpOptions{Agent: a.id, Store: a.store, Clock: a.clock, Sync: a.syncOf, Log: a.log})
	a.read = edge.NewLog(a.store, a.clock, a.id)
	a.wear = a.newWear()
	a.readStarts()
	if a.source, err = a.newSource(); err != nil {
		return &ConfigError{err}
	}
	if a.uplinks, err = a.newUplinks(); err != nil {
		return &ConfigError{err}
	}
	if a.api, err = a.newAPI(); err != nil {
		return &ConfigError{err}
	}
	a.front = a.newFront()
	if a.doors, err = a.openDoors(ctx); err != nil {
		return err
	}
	a.beginStart()
	return nil
}

// runParts starts everything, waits for the end, and drains. The pump comes
// first and the devices last, so that nothing is produced before it can be kept.
func (a *agent) runParts(ctx context.Context) error {
	pump, api := newStage("the pump", a.failed), newStage("the API", a.failed)
	uplinks, intake := newStage("the uplinks", a.failed), newStage("the devices", a.failed)

	pump.run("the pump", a.pump.Run)
	a.tellStart()
	a.tellSafe()
	api.run("the API", func(ctx context.Context) error { return a.api.Serve(ctx, a.doors.all...) })
	a.notify = newNotifier(a.pump, a.log)
	api.run("the watchdog", a.notify.watch)
	intake.run("the clock", func(ctx context.Context) error { return a.clock.Run(ctx, a.pump) })
	intake.run("the store's watch", a.watchStore)
	intake.run("the ledger", a.keepLedger)
	intake.run("the wear's watch", a.watchWear)
	intake.run("the thinner", a.thinner().Run)
	intake.run("the devices", a.source.Run)
	intake.run("the calm", a.waitForCalm)
	a.front.start(intake)
	intake.run("reloads", a.takeReloads)
	a.uplinks.start(uplinks)
	a.log.Info("ready", "agent", a.id, "store", a.opt.Config.DataDir, "epoch", fmt.Sprintf("%08x", a.store.Epoch()), "took", time.Since(a.started).Round(time.Millisecond))
	a.notify.ready()
	a.reloads.begin()
	if a.opt.Ready != nil {
		a.opt.Ready()
	}

	var err error
	select {
	case <-ctx.Done():
		a.log.Info("stopping")
	case err = <-a.failed:
		a.log.Error("stopping: a part failed", "err", err)
	}
	a.logged(a.reloads.end(reloadBudget))
	a.notify.stopping()
	a.drain(intake, pump, uplinks, api)
	a.log.Info("drained", "events", a.pump.Stats().Events)
	if err == nil {
		a.endStart()
	}
	return err
}

// drain ends the stages from the top of the picture down. A stage that is over
// its budget is left behind: the store takes nothing more once it is closed.
func (a *agent) drain(intake, pump, uplinks, api *stage) {
	a.logged(intake.end(intakeBudget))
	a.tellStop()
	a.logged(pump.end(pumpBudget))
	a.logged(uplinks.end(uplinkBudget))
	a.logged(api.end(apiBudget))
}

func (a *agent) logged(err error) {
	if err != nil {
		a.log.Warn("drain", "err", err)
	}
}
