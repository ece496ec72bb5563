package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/edge/card"
	"fieldpost/edge/edgetest"
)

// wornBoard is a board whose counters a test sets.
type wornBoard struct {
	now         time.Duration
	own, device int64
	events      uint64
	err         error
}

func (b *wornBoard) wear(boot string, budget int64) *wear {
	return &wear{budget: budget, name: "mmcblk0p2", boot: boot, log: slog.New(slog.DiscardHandler), mono: func() int64 { return int64(b.now) },
		own: func() (int64, error) { return b.own, b.err }, device: func() (int64, error) { return b.device, b.err }, events: func() uint64 { return b.events }}
}

// pass lets time pass, in which the agent and the device write.
func (b *wornBoard) pass(w *wear, d time.Duration, own, device int64, events uint64) edge.WearStatus {
	b.now += d
	b.own += own
	b.device += device
	b.events += events
	return w.status()
}

// TestWearDays: days of uptime, yesterday, averages and what one event costs.
func TestWearDays(t *testing.T) {
	b := &wornBoard{now: time.Hour, own: 5000, device: 70_000}
	w := b.wear("boot-1", 0)
	w.begin(nil)
	if s := w.status(); s.Today != 0 || s.DeviceToday != 0 || s.Days != 0 {
		t.Errorf("what was before counts: %+v", s)
	}
	s := b.pass(w, 6*time.Hour, 600, 1000, 10)
	if s.Today != 600 || s.DeviceToday != 1000 || s.Events != 10 || s.BytesPerEvent != 60 || s.Hours != 6 || s.Written != 600 || s.DeviceWritten != 71_000 {
		t.Errorf("%+v", s)
	}
	for day := range 10 {
		s = b.pass(w, 24*time.Hour, int64(day)*100, int64(day)*200, 0)
	}
	// Each span begins 6 h into a day, so a quarter of it falls to the next: the last
	// whole day has a quarter of 800 and three of 900.
	if s.Days != 7 || s.Yesterday != 875 || s.DeviceYesterday != 1750 || s.Hours != 6 || s.PerDayAverage != 575 || s.DevicePerDayAverage != 1150 {
		t.Errorf("%+v", s)
	}
}

// TestWearBound: a process's counter that counts whole folios is no more than the
// device's; and one that falls takes nothing back.
func TestWearBound(t *testing.T) {
	b := &wornBoard{now: time.Hour}
	w := b.wear("boot-1", 0)
	w.begin(nil)
	if s := b.pass(w, time.Minute, 1_000_000, 4096, 1); s.Today != 4096 || s.DeviceToday != 4096 {
		t.Errorf("%+v", s)
	}
	if s := b.pass(w, time.Minute, -2_000_000, 4096, 1); s.Today != 4096 || s.DeviceToday != 8192 {
		t.Errorf("%+v", s)
	}
	b.device = 100 // it was taken out and put back
	if s := w.status(); s.Today != 4096 || s.DeviceToday != 8292 {
		t.Errorf("%+v", s)
	}
	b.err = errors.New("gone")
	if s := b.pass(w, time.Minute, 50, 50, 0); s.Today != 4096 || s.DeviceToday != 8292 {
		t.Errorf("%+v", s)
	}
	w.device, w.name, b.err, b.own = nil, "", nil, 5_000_000
	if s := w.status(); s.Today != 5_000_000 {
		t.Errorf("without a device's counter: %+v", s)
	}
}

// TestWearRestart: counts go on in the same boot and over the next, with what the
// device took while no agent ran; a row of another device or a broken one does not.
func TestWearRestart(t *testing.T) {
	b := &wornBoard{now: time.Hour, device: 1000}
	w := b.wear("boot-1", 0)
	w.begin(nil)
	b.pass(w, 2*time.Hour, 500, 700, 5)
	row := w.rows()[0]

	b.now, b.own, b.device, b.events = b.now+time.Hour, 30, b.device+40, 0
	w = b.wear("boot-1", 0)
	w.begin(row.Value)
	if s := w.status(); s.Today != 500 || s.DeviceToday != 740 || s.Hours != 3 || s.Events != 5 {
		t.Errorf("the same boot: %+v", s)
	}
	row = w.rows()[0]
	b = &wornBoard{now: 30 * time.Minute, device: 60}
	w = b.wear("boot-2", 0)
	w.begin(row.Value)
	if s := w.status(); s.Today != 500 || s.DeviceToday != 800 || s.Hours != 3.5 {
		t.Errorf("the next boot: %+v", s)
	}
	other := b.wear("boot-2", 0)
	other.name = "sda1"
	other.begin(row.Value)
	if s := other.status(); s.Today != 0 || s.DeviceToday != 0 {
		t.Errorf("another device: %+v", s)
	}
	for _, bad := range []string{"x", `{"uptime":-1}`, `{"uptime":86400000000000}`, `{"days":[{},{},{},{},{},{},{},{}]}`} {
		if _, ok := parseWear([]byte(bad)); ok {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestWearOver: a day that comes to more than the budget is told once, also over a
// restart, and the next day again. What a start writes says nothing of the rest.
func TestWearOver(t *testing.T) {
	const mega = 1_000_000
	b := &wornBoard{now: time.Hour}
	w := b.wear("boot-1", 100*mega)
	w.begin(nil)
	told := func() bool {
		_, over := w.over()
		return over
	}
	if s := b.pass(w, 2*time.Minute, 20*mega, 20*mega, 1); told() || s.BytesPerEvent != 0 || s.Today != 20*mega {
		t.Errorf("a start was held for the whole day: %+v", s)
	}
	if s := b.pass(w, 2*time.Hour, 4*mega, 8*mega, 2); told() || s.BytesPerEvent != 2*mega || s.Projected < 60*mega || s.Projected > 75*mega {
		t.Errorf("within the budget: %+v", s)
	}
	if s := b.pass(w, time.Hour, 16*mega, 16*mega, 1); !told() || s.Projected < 150*mega || s.Today > 100*mega {
		t.Errorf("it does not foresee it: %+v", s)
	}
	b.pass(w, time.Hour, 90*mega, 90*mega, 1)
	if told() {
		t.Error("it was told twice")
	}
	row := w.rows()[0]
	w = b.wear("boot-1", 100*mega)
	b.own = 0
	w.begin(row.Value)
	b.pass(w, time.Hour, 90*mega, 90*mega, 1)
	if told() {
		t.Error("a restart told it again")
	}
	b.pass(w, 24*time.Hour, 10*mega, 10*mega, 1)
	b.pass(w, time.Minute, 101*mega, 101*mega, 1)
	if !told() {
		t.Error("the next day is not told")
	}
	w.budget = 0
	b.pass(w, 24*time.Hour, 500*mega, 500*mega, 1)
	if told() {
		t.Error("told without a budget")
	}
}

func TestWearAdvice(t *testing.T) {
	sync := func(ring string) time.Duration { return map[string]time.Duration{"samples": 4 * time.Second}[ring] }
	for _, c := range []struct {
		asks   map[string]uint64
		status edge.WearStatus
		want   string
	}{
		{map[string]uint64{"samples": 90, "": 10}, edge.WearStatus{}, "90 % of the flushes were asked for by events of the ring samples: with store.rings.samples.sync: 20s (now 4s)"},
		{map[string]uint64{"events": 90, "": 10}, edge.WearStatus{}, "store.rings.events.sync: 10s (now 0s)"},
		{map[string]uint64{"events": 1, "": 3}, edge.WearStatus{}, "75 % of the flushes were asked for by API calls"},
		{nil, edge.WearStatus{}, "it is the start"},
		{map[string]uint64{"events": 1}, edge.WearStatus{Device: "sda1", Today: 10, DeviceToday: 40}, "most of what sda1 took is not the agent's"},
	} {
		if got := wearAdvice(wearCauses(c.asks), c.status, sync); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.asks, got, c.want)
		}
	}
}

// loopDisk mounts an ext4 of its own on dir and gives its counter.
func loopDisk(t *testing.T, dir string) *card.Device {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a loop mount takes root")
	}
	image := filepath.Join(testDir(t), "img")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image).CombinedOutput(); err != nil {
		t.Skipf("no mkfs.ext4: %v: %s", err, out)
	}
	loop, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skipf("no loop devices: %v", err)
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	if err := unix.Mount(device, dir, "ext4", unix.MS_NOATIME, ""); err != nil {
		t.Skipf("no loop mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	place, err := card.System{}.Find(dir)
	if err != nil || place.Device() == nil {
		t.Fatalf("%+v, %v", place, err)
	}
	return place.Device()
}

// TestSyncSavesFlash: devices of a ring with a longer sync share their flushes, in
// the real agent on a real ext4, and the device takes so much less.
func TestSyncSavesFlash(t *testing.T) {
	const events = 40
	run := func(sync string) (flushes, bytes int64) {
		dir := testDir(t)
		device := loopDisk(t, filepath.Join(dir, "data"))
		cfg := load(t, dir, fmt.Sprintf("store: {headroom: 0, rings: {samples: {keep: 1k events, sync: %s}}}\ndevices: {air: {sim: sine, every: 50ms}}\n", sync))
		board := edgetest.NewBoard("boot-1").Board()
		a := &agent{opt: Options{Config: cfg, Version: "v1", Board: &board, Simulate: true}, log: slog.New(slog.DiscardHandler), started: time.Now(), failed: make(chan error, 1)}
		if err := errors.Join(a.openBoard(), a.openStore(t.Context()), a.openParts(t.Context())); err != nil {
			t.Fatal(err)
		}
		pump, intake := newStage("the pump", a.failed), newStage("the devices", a.failed)
		pump.run("the pump", a.pump.Run)
		if _, err := a.pump.CommitWith(t.Context(), []edge.Event{systemEvent("boot", nil)}, nil); err != nil {
			t.Fatal(err)
		}
		waitWritten(t, cfg.DataDir, device) // the journal is written ahead
		before, seen := a.pump.Asks()["samples"], count(t, device)
		from := a.store.NextN()
		intake.run("the devices", a.source.Run)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(30 * time.Second); a.store.NextN() < from+events; <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("%d of %d events after 30 s", a.store.NextN()-from, events)
			}
		}
		flushes, bytes = int64(a.pump.Asks()["samples"]-before), count(t, device)-seen
		status := a.wear.status()
		if status.Device != device.Name || status.DeviceToday < bytes || status.Today == 0 || status.Today > status.DeviceToday || status.Events < events {
			t.Errorf("%+v of %d bytes", status, bytes)
		}
		a.logged(intake.end(intakeBudget))
		a.logged(pump.end(pumpBudget))
		a.doors.close()
		a.closeStore()
		a.closeLines()
		return flushes, bytes
	}
	eachFlushes, each := run("0s")
	sharedFlushes, shared := run("1s")
	t.Logf("%d events: sync 0s %d flushes, %d bytes; 1s %d flushes, %d bytes", events, eachFlushes, each, sharedFlushes, shared)
	if eachFlushes < events/4 || 3*sharedFlushes > eachFlushes || 3*shared > each { // a busy disk makes events share flushes unasked
		t.Errorf("sync 0s: %d flushes, %d bytes; 1s: %d flushes, %d bytes", eachFlushes, each, sharedFlushes, shared)
	}
}

func count(t *testing.T, d *card.Device) int64 {
	t.Helper()
	c, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.Written
}

// waitWritten brings to the device what is in memory, until it is quiet.
func waitWritten(t *testing.T, dir string, d *card.Device) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last, since := count(t, d), time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Since(since) < time.Second; <-tick.C {
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		if n := count(t, d); n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("the device does not come to rest")
		}
	}
}

// TestWearTold: the event of a budget that does not last, and the row that keeps
// the counts over a restart.
func TestWearTold(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "store: {wear: 1B/day}\n")
	board := edgetest.NewBoard("boot-1")
	b := board.Board()
	a := &agent{opt: Options{Config: cfg, Version: "v1", Board: &b, Simulate: true}, log: slog.New(slog.DiscardHandler), started: time.Now(), failed: make(chan error, 1)}
	if err := errors.Join(a.openBoard(), a.openStore(t.Context()), a.openParts(t.Context())); err != nil {
		t.Fatal(err)
	}
	worn := &wornBoard{now: time.Hour}
	w := worn.wear("boot-1", a.wear.budget)
	w.begin(nil)
	a.wear = w
	pump := newStage("the pump", a.failed)
	pump.run("the pump", a.pump.Run)
	worn.pass(w, time.Hour, 70_000, 90_000, 7)
	if s, over := w.over(); over {
		a.tellWear(s)
	} else {
		t.Errorf("it is not over: %+v", s)
	}
	worn.pass(w, time.Minute, 500, 500, 1)
	a.tellStop()
	a.logged(pump.end(pumpBudget))
	a.doors.close()
	a.closeStore()
	told := named(stored(t, cfg, board), "wear")
	if len(told) != 1 || told[0]["budget"] != 1.0 || told[0]["written"] != 70_000.0 || told[0]["device_written"] != 90_000.0 || told[0]["advice"] == "" {
		t.Errorf("%v", told)
	}
	store := edgetest.OpenStore(t, edgetest.Options(cfg.DataDir, board))
	raw, ok := store.Get(wearTable, wearKey)
	var row wearRow
	if err := json.Unmarshal(raw, &row); !ok || err != nil || row.Today.Agent != 70_500 || !row.Told {
		t.Errorf("%s, %v", raw, err)
	}
}
