package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fieldpost/edge"
	"fieldpost/edge/agent"
	"fieldpost/edge/backup"
	"fieldpost/queue"
)

// exportPage is how much of a ring is read at once.
const exportPage = 1000

// stoppedStore reads from the folder of an agent that does not run.
type stoppedStore struct {
	store  *queue.Store
	log    *edge.Log
	agent  string
	dir    string
	folder os.FileInfo // dir as it was
}

var _ eventSource = (*stoppedStore)(nil)

// openStopped opens the store in dir, which another machine may have written:
// its serial is kept, so that it stays the same store. What root made there, also
// where it can't be opened, is given to the folder's owner.
func (a *app) openStopped(dir string) (*stoppedStore, error) {
	folder, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s, err := a.openAsIs(dir)
	if err != nil && !errors.Is(err, queue.ErrLocked) {
		err = errors.Join(err, backup.OwnAs(dir, folder))
	}
	if err != nil {
		return nil, err
	}
	s.dir, s.folder = dir, folder
	return s, nil
}

func (a *app) openAsIs(dir string) (*stoppedStore, error) {
	board, err := edge.ThisBoard()
	if err != nil {
		return nil, err
	}
	if serial, ok := serialOf(dir); ok {
		board.Serial = serial
	} else if !exists(filepath.Join(dir, "state.db")) {
		return nil, fmt.Errorf("open store: there is none in %s", dir)
	}
	clock := edge.NewClock(board)
	store, err := queue.Open(queue.Options{Dir: dir, Boot: board.BootID, Serial: board.Serial, Headroom: -1, Codec: edge.BlockCodec{}, Age: clock.Age})
	switch {
	case errors.Is(err, queue.ErrLocked):
		return nil, fmt.Errorf("open store in %s: %w: leave --dir out to ask the running agent", dir, err)
	case errors.Is(err, queue.ErrNewer):
		return nil, withCode(exitUsage, fmt.Errorf("open store in %s: %w", dir, err))
	case err != nil:
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	if err := clock.Attach(store); err != nil {
		_ = store.Close() // nothing was written
		return nil, err
	}
	id, ok := agent.StoreAgent(store)
	if !ok {
		if cfg, err := a.loadConfig("", nil); err == nil {
			id = cfg.Agent.ID
		}
		id = agent.ID(id, board.Serial)
	}
	return &stoppedStore{store: store, log: edge.NewLog(store, clock, id), agent: id}, nil
}

// serialOf reads the serial of the board that made a store.
func serialOf(dir string) (string, bool) {
	raw, err := os.ReadFile(filepath.Join(dir, "store.json"))
	if err != nil {
		return "", false
	}
	var about struct {
		Serial *string `json:"serial"`
	}
	if json.Unmarshal(raw, &about) != nil || about.Serial == nil {
		return "", false
	}
	return *about.Serial, true
}

// close lets go of the store, and gives what root made of it to the folder's owner.
func (s *stoppedStore) close() error {
	_ = s.store.Close() // what it moved may be moved again
	return backup.OwnAs(s.dir, s.folder)
}

// outline is what the store has.
func (s *stoppedStore) outline(context.Context) (outline, error) {
	return outline{agent: s.agent, epoch: fmt.Sprintf("%08x", s.store.Epoch()), rings: s.store.Rings()}, nil
}

// ring reads one ring from its oldest record or hole to its end.
func (s *stoppedStore) ring(_ context.Context, name string, each func(*edge.Event, json.RawMessage) error) error {
	for after, end := uint64(0), false; !end; {
		evs, next, done, err := s.log.Ring(name, after, queue.Max{Records: exportPage})
		if err != nil {
			return err
		}
		for i := range evs {
			err := each(&evs[i], evs[i].AppendJSON(nil))
			if errors.Is(err, errEnough) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		after, end = next, done
	}
	return nil
}
