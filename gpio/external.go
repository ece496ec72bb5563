package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fieldpost/edge"
)

// Bounds of an external device.
const (
	minAnswer   = 100 * time.Millisecond
	maxAnswer   = 20 * time.Second // the API and the uplinks wait 30 s for a command
	maxAsking   = 16               // commands that wait for the client at once
	maxExternal = 1024             // bytes of a value: its event repeats it
	maxWhy      = 256              // bytes of a client's reason
)

// External is the config of an external: a device that a client of the LAN plays.
type External struct {
	External ExternalClient `mapstructure:"external"`
	States   States         `mapstructure:"states"`
	Remote   bool           `mapstructure:"remote"`
}

// ExternalClient is how the client has to behave.
type ExternalClient struct {
	Answer edge.Duration `mapstructure:"answer"` // the longest that it may take to confirm; 10s
	Client string        `mapstructure:"client"` // the name of the one key that may play it; "": any that may write the device's name
}

func externalDriver() Driver {
	return Driver{
		Name: "external",
		Doc: "A device whose hardware is a program on the LAN. A command (on, off, toggle, or set with a number, a text, true or false) becomes an event of kind command under " +
			"the device's name, with id, verb, wanted (the value to bring about) and within (seconds). Its client sees that in a stream, a WebSocket or a mailbox, does it, and " +
			"confirms with POST /v1/commands/{id}: {} where it is as wanted, {\"value\": 40} where it came out otherwise, {\"why\": \"...\"} where it could not. " +
			"answer: the longest that it may take, 20s at most; what is not confirmed by then is told as a command that was not done, and so is what waits when the agent stops, or a reload changes the device: " +
			"a client that reads such a command later leaves it alone. POST /v1/devices/{name}/report with {\"value\": true} tells what changed by itself. " +
			"client: the name of the one key that may play the device; else each that may write its name, and the first to confirm a command is heard. " +
			"remote: commands from upstream are allowed.",
		Example: "lamp: {external: {answer: 10s}}",
		Config: func() any {
			return &External{External: ExternalClient{Answer: edge.Duration(10 * time.Second)}, States: States{On: "on", Off: "off"}}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[External](v)
			if err != nil {
				return nil, err
			}
			if a := cfg.External.Answer.D(); a < minAnswer || a > maxAnswer {
				return nil, fmt.Errorf("external: answer is %s: it must be from %s to %s", cfg.External.Answer, edge.Duration(minAnswer), edge.Duration(maxAnswer))
			}
			return &external{env: env, cfg: *cfg, wake: make(chan struct{}, 1)}, nil
		},
	}
}

// external is the device. Its loop, its commands and its client's calls share it.
type external struct {
	env  Env
	cfg  External
	wake chan struct{} // a token: there is another deadline

	mu     sync.Mutex // guards the rest; never held over Flush
	out    *Outlet    // nil while it is not running
	row    externalRow
	asking []*asking // oldest first
}

var _ player = (*external)(nil)

// externalRow is an external's durable state.
type externalRow struct {
	Value  json.RawMessage `json:"value"` // what the client told last; null: nothing yet
	Asking []askingRow     `json:"asking,omitempty"`
}

// askingRow is what a restart must know of a command that waits.
type askingRow struct {
	ID   string `json:"id"`
	Verb string `json:"verb"`
}

// asking is a command that waits for the client.
type asking struct {
	askingRow
	wanted json.RawMessage
	within time.Duration // it has to answer
	ends   int64         // on CLOCK_MONOTONIC
	told   *Told         // the event that asks
	later  func(Result, error, string) (Report, func(*Told))
}

// Verbs are its commands.
func (d *external) Verbs() []string { return slices.Clone([]string{"on", "off", "toggle", "set"}) }

// Remote reports whether upstream may command it.
func (d *external) Remote() bool { return d.cfg.Remote }

// Run holds the deadlines of commands until ctx is done, and tells those that wait
// then as not confirmed.
func (d *external) Run(ctx context.Context, out *Outlet) error {
	d.begin(out)
	out.Flush()
	out.Ready()
	defer out.Flush()
	defer d.end()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		t.Stop()
		if left, waits := d.look(); waits {
			t.Reset(left)
		}
		out.Flush()
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-t.C:
		}
	}
}

// begin takes over what was stored. Commands that waited when the agent was cut off
// are told as not confirmed: nobody holds their deadline any more.
func (d *external) begin(out *Outlet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	had := out.Stored(&d.row)
	d.out = out
	cut := d.row.Asking
	d.row.Asking = nil
	for _, a := range cut {
		out.Queue(Report{Kind: edge.Acted, Store: d.row, More: []Field{{"id", quote(a.ID)}, {"verb", quote(a.Verb)}, {"done", boolean(false)},
			{"why", quote(fmt.Sprintf("%v: not confirmed before the agent was cut off", edge.ErrRefused))}}})
	}
	if !had {
		d.row.Value = json.RawMessage("null")
		out.Queue(Report{Value: d.row.Value, State: d.state(), Store: d.row})
	}
	out.Show(d.row.Value, d.state(), "")
}

// end tells what waits as not confirmed.
func (d *external) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.asking) > 0 {
		d.settle(d.asking[0], nil, errors.New("not confirmed before the agent stopped, or a reload stopped the device"), "device:"+d.env.Name)
	}
	d.out = nil
}

// look tells what is overdue, and gives the time until the next may be.
func (d *external) look() (left time.Duration, waits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.env.Clock.Stamp().Mono
	for _, a := range slices.Clone(d.asking) {
		if a.ends > now {
			if more := time.Duration(a.ends - now); !waits || more < left {
				left, waits = more, true
			}
			continue
		}
		d.settle(a, nil, a.late(), "device:"+d.env.Name)
		d.out.Doubt(fmt.Errorf("the command %s was %w", a.Verb, a.late()))
	}
	return left, waits
}

// late is why a command that was not confirmed in time was not done.
func (a *asking) late() error {
	return fmt.Errorf("not confirmed within %s", edge.Duration(a.within.Round(time.Millisecond)))
}

// Do passes a command on to the client: the event that tells it is what asks.
func (d *external) Do(a Action) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.out == nil {
		return Result{}, fmt.Errorf("%w: %s does not run now", edge.ErrAbsent, d.env.Name)
	}
	if a.If != nil && string(a.If) != "null" && !d.is(a.If) {
		return Result{}, fmt.Errorf("%w: it is %s, not %s", edge.ErrRefused, clip(d.row.Value), clip(a.If))
	}
	wanted, err := d.wanted(a)
	if err != nil {
		return Result{}, err
	}
	if len(d.asking) >= maxAsking {
		return Result{}, fmt.Errorf("%w: %d commands wait for the client that plays %s", edge.ErrRefused, len(d.asking), d.env.Name)
	}
	p := &asking{askingRow: askingRow{a.ID, a.Verb}, wanted: wanted, later: a.Later}
	within := d.cfg.External.Answer.D()
	if a.Within > 0 {
		within = min(within, a.Within)
	}
	p.ends = d.env.Clock.Stamp().Mono + int64(within)
	p.within = within
	d.row.Asking = append(d.row.Asking, p.askingRow)
	res := Result{Wanted: wanted, Within: within}
	rep := a.Tell(res)
	rep.Store = d.row
	p.told = d.out.Queue(rep)
	d.asking = append(d.asking, p)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	res.Told = p.told
	return res, nil
}

// confirm takes the client's answer to a command.
func (d *external) confirm(id string, value json.RawMessage, why, from string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mayPlay(from); err != nil {
		return false, err
	}
	if len(why) > maxWhy {
		return false, fmt.Errorf("%w: why has at most %d bytes", edge.ErrBadValue, maxWhy)
	}
	if value != nil {
		var err error
		if value, err = scalar(value); err != nil {
			return false, err
		}
	}
	i := slices.IndexFunc(d.asking, func(a *asking) bool { return a.ID == id })
	if i < 0 {
		return false, nil
	}
	a := d.asking[i]
	if d.env.Clock.Stamp().Mono >= a.ends {
		return false, fmt.Errorf("%w: command %s: %w", edge.ErrRefused, id, a.late())
	}
	d.out.Doubt(nil)
	if why != "" {
		d.settle(a, nil, fmt.Errorf("its client says: %s", why), from)
		return true, nil
	}
	if value == nil {
		value = a.wanted
	}
	d.settle(a, value, nil, from)
	return true, nil
}

// report takes what the client says that the device is.
func (d *external) report(value json.RawMessage, from string) (*Told, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mayPlay(from); err != nil {
		return nil, err
	}
	value, err := scalar(value)
	if err != nil {
		return nil, err
	}
	if d.out == nil {
		return nil, fmt.Errorf("%w: %s does not run now", edge.ErrAbsent, d.env.Name)
	}
	d.out.Doubt(nil)
	d.row.Value = value
	return d.out.Queue(Report{Value: value, State: d.state(), More: []Field{{"by", quote(from)}}, Store: d.row}), nil
}

// settle ends a command that waits, with the value that it brought about or why it
// did not. The caller holds d.mu.
func (d *external) settle(a *asking, value json.RawMessage, why error, from string) {
	d.asking = slices.DeleteFunc(d.asking, func(b *asking) bool { return a == b })
	d.row.Asking = slices.DeleteFunc(slices.Clone(d.row.Asking), func(r askingRow) bool { return r.ID == a.ID })
	changed := false
	var res Result
	if why == nil {
		changed = !sameJSON(value, d.row.Value)
		d.row.Value = value
		res = Result{Value: value, State: d.state()}
	} else {
		why = fmt.Errorf("%w: %w", edge.ErrRefused, why)
	}
	rep, done := a.later(res, why, from)
	rep.Cause, rep.Store = a.told, d.row
	told := d.out.Queue(rep)
	if changed {
		d.out.Queue(Report{Value: value, State: d.state(), Cause: told})
	}
	done(told)
}

// mayPlay refuses a client that the config does not name.
func (d *external) mayPlay(from string) error {
	if c := d.cfg.External.Client; c != "" && from != "client:"+c {
		return fmt.Errorf("%w: only the client %s plays %s", edge.ErrRefused, c, d.env.Name)
	}
	return nil
}

// wanted is the value that a command asks for. The caller holds d.mu.
func (d *external) wanted(a Action) (json.RawMessage, error) {
	switch a.Verb {
	case "on", "off":
		return boolean(a.Verb == "on"), nil
	case "toggle":
		var v *bool
		if json.Unmarshal(d.row.Value, &v) != nil || v == nil {
			return nil, fmt.Errorf("%w: toggle needs a device that is on or off, and %s is %s", edge.ErrRefused, d.env.Name, clip(d.row.Value))
		}
		return boolean(!*v), nil
	case "set":
		return scalar(a.Value)
	}
	return nil, fmt.Errorf("%w: there is no %q", edge.ErrBadValue, a.Verb)
}

// is reports whether the device is at what a condition names: its value, or the word
// for it. The caller holds d.mu.
func (d *external) is(v json.RawMessage) bool {
	if sameJSON(v, d.row.Value) {
		return true
	}
	var word string
	state := d.state()
	return state != "" && json.Unmarshal(v, &word) == nil && strings.EqualFold(word, state)
}

// state is the word for the value. The caller holds d.mu.
func (d *external) state() string {
	switch string(d.row.Value) {
	case "null":
		return "unknown"
	case "true", "false":
		return d.cfg.States.of(string(d.row.Value) == "true")
	}
	return ""
}

// scalar is a number, a text, true or false as the client wrote it, without the
// space around it.
func scalar(v json.RawMessage) (json.RawMessage, error) {
	var got any
	if utf8.Valid(v) && json.Unmarshal(v, &got) == nil {
		switch got.(type) {
		case string, float64, bool:
			if v := []byte(strings.TrimSpace(string(v))); len(v) <= maxExternal {
				return v, nil
			}
			return nil, fmt.Errorf("%w: a value has at most %d bytes", edge.ErrBadValue, maxExternal)
		}
	}
	return nil, fmt.Errorf("%w: a value is a number, a text, true or false, not %s", edge.ErrBadValue, clip(v))
}
