package localapi

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/edge"
)

// clients are the streams and sockets that are open.
type clients struct {
	max int

	mu      sync.Mutex
	next    uint64
	open    map[uint64]*client
	stopped bool
	done    sync.WaitGroup
}

func newClients(max int) *clients { return &clients{max: max, open: map[uint64]*client{}} }

// client is one stream, socket or backup.
type client struct {
	id    uint64
	kind  string // stream, socket or backup
	who   principal
	since time.Time
	end   context.CancelFunc
	sent  atomic.Uint64
	reads atomic.Pointer[reading]
}

// reading is what a client reads now.
type reading struct {
	names []string
	rings []string
	after edge.Position
}

// position is how far the client's feed is.
func (c *client) position() edge.Position {
	if r := c.reads.Load(); r != nil {
		return r.after
	}
	return edge.Position{}
}

// enter makes a place for a client, whose context ends with it, with the server,
// and with its key.
func (c *clients) enter(ctx context.Context, kind string, who principal) (context.Context, *client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, nil, busy("the agent is stopping")
	}
	if len(c.open) >= c.max {
		return nil, nil, busy("%d streams and sockets are open, which is the most there can be", len(c.open))
	}
	ctx, cancel := context.WithCancel(ctx)
	c.next++
	me := &client{id: c.next, kind: kind, who: who, since: time.Now(), end: cancel}
	c.open[me.id] = me
	c.done.Add(1)
	return ctx, me, nil
}

func (c *clients) leave(me *client) {
	me.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, me.id)
	c.done.Done()
}

// endKey ends what was opened with a key that is no more.
func (c *clients) endKey(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.open {
		if o.who.id == id {
			o.end()
		}
	}
}

// stop ends all and lets no more in.
func (c *clients) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, o := range c.open {
		o.end()
	}
}

// wait blocks until all have left, after stop.
func (c *clients) wait() { c.done.Wait() }

func (c *clients) count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, o := range c.open {
		if o.kind == kind {
			n++
		}
	}
	return n
}

// clientInfo is a client as the API shows it.
type clientInfo struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Key     string    `json:"key"`
	Role    string    `json:"role"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Sent    uint64    `json:"sent"`
	After   string    `json:"after,omitempty"`
	Names   []string  `json:"names,omitempty"`
	Rings   []string  `json:"rings,omitempty"`
}

func (c *clients) list() []clientInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]clientInfo, 0, len(c.open))
	for _, o := range c.open {
		i := clientInfo{ID: strconv.FormatUint(o.id, 10), Kind: o.kind, Key: o.who.name, Role: o.who.role.String(), Address: o.who.address(), Since: o.since.UTC(), Sent: o.sent.Load()}
		if r := o.reads.Load(); r != nil {
			i.After, i.Names, i.Rings = r.after.String(), r.names, r.rings
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b clientInfo) int {
		if d := a.Since.Compare(b.Since); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func getClients(s *Server, _ *request) (any, error) {
	return map[string]any{"clients": s.clients.list()}, nil
}
