package gpio

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// A row that could not be stored is tried again after saveAgain; at the end the
// last rows get saveLast.
const (
	saveAgain = 5 * time.Second
	saveLast  = 2 * time.Second
)

// saver gives EmitWith to a pump that has none: the rows follow their event in a
// flush of their own, the newest of each key, so a kill between the two leaves a
// row that is older than its event. It can be told twice then; it is never lost.
type saver struct {
	pump emitter
	log  *slog.Logger
	wake chan struct{}

	mu   sync.Mutex
	rows map[[2]string]queue.Row // by table and key
}

var _ rowEmitter = (*saver)(nil)

// withRows is the pump's own EmitWith where it has one, else a saver that has to run.
func withRows(p emitter, log *slog.Logger) (rowEmitter, *saver) {
	if own, ok := p.(rowEmitter); ok {
		return own, nil
	}
	s := &saver{pump: p, log: log, wake: make(chan struct{}, 1), rows: map[[2]string]queue.Row{}}
	return s, s
}

// EmitWith emits the event and keeps the rows for run.
func (s *saver) EmitWith(ev edge.Event, cause *edge.Ticket, rows ...queue.Row) *edge.Ticket {
	t := s.pump.Emit(ev, cause)
	if len(rows) == 0 {
		return t
	}
	s.mu.Lock()
	for _, r := range rows {
		s.rows[[2]string{r.Table, r.Key}] = r
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return t
}

// run stores rows until ctx is done, and then what is left.
func (s *saver) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.wake:
			if err := s.save(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("store the devices' states", "err", err)
				pause(ctx, saveAgain)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveLast)
	defer cancel()
	if err := s.save(ctx); err != nil {
		s.log.Error("store the devices' states at the end", "err", err)
	}
}

// save stores what is kept. On an error it is kept on, unless there is newer.
func (s *saver) save(ctx context.Context) error {
	s.mu.Lock()
	taken := s.rows
	s.rows = map[[2]string]queue.Row{}
	s.mu.Unlock()
	if len(taken) == 0 {
		return nil
	}
	rows := make([]queue.Row, 0, len(taken))
	for _, r := range taken {
		rows = append(rows, r)
	}
	err := s.pump.Commit(ctx, rows...)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range taken {
		if _, newer := s.rows[k]; !newer {
			s.rows[k] = r
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return err
}
