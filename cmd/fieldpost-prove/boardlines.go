package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// boardFault is something that befalls the agent while its lines change.
type boardFault struct {
	name     string
	do       func(context.Context) error
	ends     bool // the agent is another one after it
	graceful bool // and was asked to end
}

// boardFaults are three kills, two restarts, an upgrade, and a new systemd.
func (b *board) boardFaults() []boardFault {
	restart := replaceAgent("systemctl", "restart", boardUnit)
	return []boardFault{
		{"kill -9", killAgent, true, false},
		{"restart", restart, true, true},
		{"second kill -9", killAgent, true, false},
		{"upgrade", b.upgrade, true, true},
		{"daemon-reexec", reexecManager, false, false},
		{"third kill -9", killAgent, true, false},
		{"second restart", restart, true, true},
	}
}

// upgrade installs the higher version, whose binary has to run then.
func (b *board) upgrade(ctx context.Context) error {
	if err := replaceAgent("dpkg", "-i", filepath.Join(b.share, "two.deb"))(ctx); err != nil {
		return err
	}
	version, err := command(ctx, "dpkg-query", "-W", "-f", "${Version}", "fieldpost")
	if err != nil {
		return err
	}
	var status struct{ Agent struct{ Version string } }
	if err := apiGet(ctx, "/v1/status", &status); err != nil {
		return err
	}
	upstream, _, _ := strings.Cut(version, "-")
	if status.Agent.Version != upstream || !strings.Contains(version, "board2") {
		return fmt.Errorf("package %s is installed, and %s runs", version, status.Agent.Version)
	}
	return nil
}

const (
	leastRun   = 60 * time.Second
	sampleTime = 50 * time.Millisecond
	// calm is how long nothing befalls the agent between two faults.
	calm = 2 * time.Second
)

// watched is what was seen of the lines while the faults went on.
type watched struct {
	toggler toggler
	sampler sampler
	spans   []span // of the pump
	faults  []span // each fault, until the agent is there again
}

// ends is how often the agent was ended.
func (w *watched) ends() (n int) {
	for _, s := range w.spans {
		if s.falls {
			n++
		}
	}
	return n
}

// lines changes an input ten times a second and watches two outputs, while the
// agent is killed, restarted and replaced.
func (b *board) lines(ctx context.Context) error {
	trace, err := switchOnTraced(ctx)
	if err := b.must("the lamp and the pump are switched on, and the kernel's trace has each", err); err != nil {
		return err
	}
	watch, err := watchInfo(b.chip, lampLine)
	if err := b.must("the kernel tells what happens to the lamp's line", err); err != nil {
		return err
	}
	defer watch.Close()
	w, err := b.watch(ctx)
	if err := b.must("each fault is survived", err, w.sums()...); err != nil {
		return err
	}
	b.judgeLampLine(watch, trace, w)
	b.report("the pump went to its safe level at each stop, was at its boot level after it, and on in between", faults(judgePump(w.sampler.samples, w.spans)))
	pumped, err := storedEvents(ctx, "pump")
	b.report("the agent drove it there itself at each restart and upgrade, and at no kill", errors.Join(err, faults(judgeStops(pumped, w.spans))))
	b.judgeDoor(ctx, w)
	b.report("the bell told nothing while nobody pressed it", b.bellIsStill(ctx))
	b.report("the flow meter counted each pulse through all of it", b.flowIs(ctx, w.toggler.pulses), fmt.Sprintf("%d pulses", w.toggler.pulses))
	return b.watchControl(ctx, watch)
}

// judgeLampLine judges what sysfs, the watch and the trace have of the lamp.
func (b *board) judgeLampLine(watch *infoWatch, trace *valueTrace, w *watched) {
	changes, err := watch.changes()
	b.report("the lamp's line was never let go of or set up anew (LINEINFO_WATCH)", errors.Join(err, faults(changes)))
	b.report("the lamp was on in every sample", errors.Join(faults(judgeLamp(w.sampler.samples)), atLeast(len(w.sampler.samples), 500, "samples")),
		fmt.Sprintf("%d samples of sysfs, one each %v", len(w.sampler.samples), sampleTime))
	ds, err := driven()
	b.report("the kernel never drove the lamp off, and it tells each level of the pump (trace event gpio_value)",
		errors.Join(err, faults(trace.judgeDrives(ds, w.ends()))), fmt.Sprintf("lamp %q, pump %q", ds[trace.lamp], ds[trace.pump]))
}

func atLeast(got, want int, what string) error {
	if got < want {
		return fmt.Errorf("only %d %s, not %d", got, what, want)
	}
	return nil
}

func (w *watched) sums() []string {
	t := &w.toggler
	if len(t.toggles) == 0 {
		return nil
	}
	took := time.Duration(t.toggles[len(t.toggles)-1].after - t.toggles[0].before)
	return []string{fmt.Sprintf("%d toggles in %.1f s, %d ticks were late and left out", len(t.toggles), took.Seconds(), t.skipped)}
}

// watch runs the faults with the toggler and the sampler beside them.
func (b *board) watch(ctx context.Context) (w *watched, err error) {
	w = &watched{toggler: toggler{chip: b.chip}, sampler: sampler{chip: b.chip, every: sampleTime}}
	stopToggler := background(ctx, w.toggler.run)
	stopSampler := background(ctx, w.sampler.run)
	defer func() { err = errors.Join(err, stopToggler(), stopSampler()) }()
	began := time.Now()
	b.clockFollows(ctx)
	since := mono() // when the pump was known to be on
	for _, f := range b.boardFaults() {
		if since, err = w.befall(ctx, f, since); err != nil {
			return w, fmt.Errorf("%s: %w", f.name, err)
		}
		took := w.faults[len(w.faults)-1]
		fmt.Fprintf(b.out, "     %s took %.1f s\n", f.name, time.Duration(took.to-took.from).Seconds())
	}
	return w, pause(ctx, max(leastRun-time.Since(began), calm))
}

// befall has one fault happen after a while of calm, and notes when it was and what
// the pump had to be then. Since is when it was known to be on: before, and again.
func (w *watched) befall(ctx context.Context, f boardFault, since int64) (again int64, err error) {
	if err := pause(ctx, calm); err != nil {
		return since, err
	}
	before, err := w.sampler.since(ctx, since)
	if err != nil {
		return since, err
	}
	if err := f.do(ctx); err != nil {
		return since, err
	}
	ready := mono()
	w.faults = append(w.faults, span{what: f.name, from: before, to: ready, graceful: !f.ends || f.graceful})
	if !f.ends {
		return since, nil
	}
	if err := pause(ctx, calm/4); err != nil {
		return since, err
	}
	settled, err := w.sampler.since(ctx, ready)
	if err != nil {
		return since, err
	}
	w.spans = append(w.spans,
		span{what: "on before the " + f.name, from: since, to: before, level: true},
		span{what: "through the " + f.name, from: before, to: settled, falls: true, graceful: f.graceful},
		span{what: "after the " + f.name, from: ready, to: settled})
	err = switchOn(ctx, "pump")
	return mono(), err
}

// clockFollows takes the clock's sync away again, in the calm before the faults.
func (b *board) clockFollows(ctx context.Context) {
	took := time.Duration(0)
	err := setSynced(false)
	if err == nil {
		// A synced clock is looked at each 30 s.
		took, err = waitClock(ctx, "unsynced", 40*time.Second)
	}
	b.report("the kernel's clock is not synced any more: status follows", err, fmt.Sprintf("after %.1f s", took.Seconds()))
}

// switchOn commands an output as a user does, and waits for the answer.
func switchOn(ctx context.Context, name string) error {
	_, err := command(ctx, "fieldpost", "set", name, "on")
	return err
}

// judgeDoor reads what is stored of the door once all is there, and compares it
// with the toggles and with what the broker's subscriber got.
func (b *board) judgeDoor(ctx context.Context, w *watched) {
	t := &w.toggler
	last := t.toggles[len(t.toggles)-1]
	var events []lineEvent
	wait, cancel := context.WithTimeoutCause(ctx, 15*time.Second, errors.New("the last toggle is not stored after 15 s"))
	defer cancel()
	err := poll(wait, 500*time.Millisecond, func() (bool, error) {
		var err error
		events, err = storedEvents(ctx, "door")
		n := len(events)
		return n > 0 && events[n-1].Mono >= last.before, err
	})
	v := judgeEdges(t.toggles, events, w.faults)
	seen := []string{
		fmt.Sprintf("%d toggles, %d events, %d told as lost, %d coalesced by the kernel", len(t.toggles), v.edges, v.lost, v.coalesced),
		fmt.Sprintf("request %s, %d levels without an edge", strings.Join(v.requests, " "), v.unnumbered),
		fmt.Sprintf("stamp after write: p50 %v p99 %v max %v", quantile(v.latency, 0.5), quantile(v.latency, 0.99), quantile(v.latency, 1)),
	}
	for _, h := range v.holes {
		seen = append(seen, "lost: "+h)
	}
	b.report("each toggle of the door is one stored event, or told as lost", errors.Join(err, faults(v.faults)), seen...)
	b.judgeSubscriber(ctx, events)
}

// judgeSubscriber waits until the subscriber has each event at least once.
func (b *board) judgeSubscriber(ctx context.Context, events []lineEvent) {
	got, lines := map[string]bool{}, 0
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := poll(wait, 500*time.Millisecond, func() (bool, error) {
		err := b.sub.Read(func(line []byte) error {
			var e struct{ ID string }
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read what the subscriber got: %w: %.200s", err, line)
			}
			got[e.ID] = true
			lines++
			return nil
		})
		return len(missingOf(events, got)) == 0, err
	})
	if missing := missingOf(events, got); len(missing) > 0 {
		err = errors.Join(err, fmt.Errorf("%d events never came: %v", len(missing), missing[:min(len(missing), 10)]))
	}
	b.report("mosquitto_sub got each event of the door", errors.Join(err, atLeast(len(events), 500, "events")),
		fmt.Sprintf("%d messages with %d ids, %d of them the door's", lines, len(got), len(events)))
}

// flowIs waits until the flow meter tells a count.
func (b *board) flowIs(ctx context.Context, want int) error {
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	value := ""
	err := poll(wait, 500*time.Millisecond, func() (bool, error) {
		states, err := deviceStates(ctx)
		value = string(states["flow"].Value)
		return value == fmt.Sprint(want), err
	})
	if err != nil {
		return fmt.Errorf("it says %s, not %d: %w", value, want, err)
	}
	return nil
}

// watchControl shows that the watch and sysfs see a line that is let go of: a stop
// of the service does that to the lamp, and its pull is down.
func (b *board) watchControl(ctx context.Context, watch *infoWatch) error {
	_, err := command(ctx, "systemctl", "stop", boardUnit)
	var told []string
	if err == nil {
		told, err = watch.changes()
	}
	if err == nil && len(told) == 0 {
		err = errors.New("the lamp's line was let go of, and the kernel told nothing: the watch is blind")
	}
	b.report("control: the watch sees the release at a stop", err, told...)
	on, err := b.chip.level(lampLine)
	if err == nil && on {
		err = errors.New("the lamp was let go of, and sysfs has it on: its samples say nothing")
	}
	b.report("control: sysfs sees the lamp fall with it", err)
	_, err = command(ctx, "systemctl", "start", boardUnit)
	return errors.Join(err, switchOn(ctx, "pump"))
}
