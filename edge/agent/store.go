package agent

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/queue"
)

// storeRetry is how often a store that could not be opened is tried again.
const storeRetry = 2 * time.Second

// openStore opens the store. Where the disk is full, read-only or failing even
// for that, the agent says so on its listeners and tries until it works.
func (a *agent) openStore(ctx context.Context) error {
	err := a.tryStore()
	if err == nil || !diskFault(err) {
		return err
	}
	a.log.Error("the store can't be opened yet", "err", err)
	wait := a.serveWaiting(ctx, err)
	defer wait.stop()
	retry := time.NewTicker(storeRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopped while waiting for the disk: %w", err)
		case <-retry.C:
		}
		if err = a.tryStore(); err == nil || !diskFault(err) {
			return err
		}
		wait.say(err)
	}
}

// tryStore opens the store once.
func (a *agent) tryStore() error {
	cfg := a.opt.Config
	rings, fallback := limitsOf(&cfg.Store)
	store, err := queue.Open(queue.Options{
		Dir: cfg.DataDir, Boot: a.board.BootID, Serial: a.board.Serial,
		Rings: rings, Default: fallback, Headroom: int64(cfg.Store.Headroom),
		Codec: edge.BlockCodec{}, Age: a.clock.Age, Log: a.log.With("part", "store"), Rand: a.opt.ids,
	})
	switch {
	case err == nil:
		a.store = store
		return nil
	case errors.Is(err, queue.ErrNewer):
		return &ConfigError{fmt.Errorf("open store in %s: %w", cfg.DataDir, err)}
	}
	return fmt.Errorf("open store in %s: %w", cfg.DataDir, err)
}

// diskFault reports whether an error is one that a disk can get over.
func diskFault(err error) bool {
	for _, passing := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// closeStore moves what is left into segments and marks a clean stop.
func (a *agent) closeStore() {
	if err := a.store.Close(); err != nil {
		a.log.Error("close store", "err", err)
	}
}

// limitsOf are the bounds of the config's rings, and of all others.
func limitsOf(cfg *config.StoreConfig) (rings map[string]queue.Limits, fallback queue.Limits) {
	rings = make(map[string]queue.Limits, len(cfg.Rings))
	for name, r := range cfg.Rings {
		rings[name] = ringLimits(r)
	}
	return rings, ringLimits(cfg.Default)
}

func ringLimits(r config.RingConfig) queue.Limits {
	return queue.Limits{Keep: uint64(r.Keep), Size: int64(r.Size), Age: r.Age.D(), Thin: r.WhenFull == config.Thin}
}

// syncOf says how long an event of a ring may wait for its flush.
func (a *agent) syncOf(ring string) time.Duration {
	cfg := a.config().Store
	if r, ok := cfg.Rings[ring]; ok {
		return r.Sync.D()
	}
	return cfg.Default.Sync.D()
}
